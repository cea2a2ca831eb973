"""Portraits from texts and faces, and who is in them."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ....ip_adapter_core.adapters import loading
from ....ip_adapter_core.attention.application import ApplyOptions
from ....ip_adapter_core.faces.features import WIDTH
from ....ip_adapter_core.faces.networks import FaceNetworks
from ....ip_adapter_core.small_world.world import SIDE
from ....nodes.host.sampling.model_patch import apply
from .. import host, sampling
from . import base, detection, recognition
from .adapter import Seen, crops, file, nobody


@cache
def reader() -> FaceNetworks:
    """The shipped face networks."""
    return FaceNetworks(detection.FILE, recognition.FILE)


def recognised(pictures: Tensor) -> Seen:
    """What is read of the largest faces in pictures (n, 3, h, w); zeros and a black picture where none is found."""
    faces, crop = zip(*(_largest((one.movedim(0, -1) * 255).round()) for one in pictures), strict=True)
    return Seen(normalize(torch.cat(faces)), host.states(torch.cat(crop)))


def _largest(picture: Tensor) -> tuple[Tensor, Tensor]:
    found = reader().detect(picture.contiguous()).largest()
    if not len(found.scores):
        return torch.zeros(1, WIDTH), torch.zeros(1, 3, SIDE, SIDE)
    return reader().embed(picture, found), crops(picture, found.points)


@torch.no_grad()
def portrayed(
    texts: list[str], who: Sequence[Seen] = (), weight: float = 1.0, kind: str = "faceid", seed: int = 1
) -> Tensor:
    """Portraits (n, 3, 256, 256), 0 to 1, from a text each, and from one or several faces each.

    who: what is read of the first face of each portrait, of the second, …; kind: of the adapter that reads them.
    """
    model = host.checkpoint(base.FILE).model
    if who:
        network = loading.load(file(kind)).float()
        cond = [network.image_proj(*one.of(kind)) for one in who]
        uncond = [network.image_proj(*nobody(len(texts)).of(kind))] * len(who)
        prompt = sampling.joined(network, torch.cat(cond, dim=1), torch.cat(uncond, dim=1))
        model = apply(model, prompt, ApplyOptions(weight))
    text, empty = (host.contexts(said, base.FILE) for said in (texts, [""] * len(texts)))
    return sampling.drawn(model, [[text, {}]], [[empty, {}]], seed, base.FILE)
