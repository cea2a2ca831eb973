"""Train adapters of faces with the package's own trainer: who is in the picture comes from the recogniser."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ....ip_adapter_core.adapters.projections import HEAD_WIDTH
from ....ip_adapter_core.faces.alignment import align
from ....ip_adapter_core.faces.features import WIDTH
from ....ip_adapter_core.faces.networks import SIDE as CROP
from ....ip_adapter_core.faces.networks import Recogniser
from ....ip_adapter_core.files.tensor_file import Shape
from ....ip_adapter_core.layers.layout import geometry
from ....ip_adapter_core.small_world.canvas import PICTURE
from ....ip_adapter_core.small_world.people import Portrait
from ....ip_adapter_core.small_world.portraits import draw, points
from ....ip_adapter_core.small_world.world import SIDE
from ....ip_adapter_core.training.examples import TensorExamples
from ....ip_adapter_core.training.fresh import begun
from ....nodes.host.training.base_model import HostBase, attention_weights
from .. import adapters, host
from ..adapters import UNSAID
from ..shelf import MODELS, kept
from . import base, pictures, recognition

STEPS = 2000
INNER = 128
"""Width between the two layers that make a face's tokens."""
PICTURES = 9_000
"""Portraits that adapters learn from; they are looked at as they are drawn at half of the size."""
_AT_ONCE = 24

Sizes = dict[str, Shape]


class Kind(NamedTuple):
    """A kind of adapter: a row of KINDS.

    tokens: how many a face makes.
    resampler: (context, width of CLIP's states) -> sizes of what reads the face's picture beside; None where nothing
    does.
    """

    tokens: int
    resampler: Callable[[int, int], Sizes] | None = None

    def sizes(self, context: int, states: int) -> Sizes:
        """Of the whole projection."""
        wide = self.tokens * context
        own = {"proj.0.weight": (INNER, WIDTH), "proj.2.weight": (wide, INNER), "norm.weight": (context,)}
        return own | (self.resampler(context, states) if self.resampler else {})


def _resampler(context: int, states: int) -> Sizes:
    """One layer in which the face's tokens look at the picture."""
    inner = max(1, context // HEAD_WIDTH) * HEAD_WIDTH
    sizes = {"proj_in": (context, states), "proj_out": (context, context)}
    sizes |= {"layers.0.0.to_q": (inner, context), "layers.0.1.1": (4 * context, context)}
    return {f"perceiver_resampler.{name}.weight": size for name, size in sizes.items()}


KINDS = {"faceid": Kind(4), "faceid_plusv2": Kind(4, _resampler), "portrait": Kind(8)}


class Seen(NamedTuple):
    """What is read of faces.

    faces: the recogniser's numbers, (n, 512), of length one.
    states: CLIP's of the faces' pictures, (n, patches, width).
    """

    faces: Tensor
    states: Tensor

    def of(self, kind: str) -> tuple[Tensor, ...]:
        """What an adapter of a kind reads of it."""
        return self if KINDS[kind].resampler else self[:1]


def nobody(count: int) -> Seen:
    """What is read where no face is asked for."""
    return Seen(torch.zeros(count, WIDTH), host.blank_states().expand(count, -1, -1))


def file(kind: str) -> Path:
    """Where an adapter is shipped."""
    return MODELS / "ipadapter" / f"small_world_{kind}.safetensors"


def crops(picture: Tensor, at: Tensor) -> Tensor:
    """The faces of a picture (h, w, 3) at these points, (faces, 3, 32, 32), as CLIP reads them."""
    return align(picture, at, SIDE).movedim(-1, 1)


def references(kind: str) -> list[Portrait]:
    """Whose faces an adapter reads while it learns to draw the training portraits.

    Where the face alone is read it is that of another portrait of the same person, so that nothing of expression or
    glasses comes from it. Where the face's picture is read too both are the same; clothes and background are others.
    """
    shown = pictures.portraits("train")[:PICTURES]
    return pictures.elsewhere(shown) if KINDS[kind].resampler else pictures.others(shown)


def learned_from(kind: str) -> Seen:
    """What is read of these; computed once and written to disk."""

    def make() -> dict[str, Tensor]:
        recognise, shown = Recogniser(recognition.FILE), references(kind)
        parts = [_read(shown[n : n + _AT_ONCE], recognise) for n in range(0, len(shown), _AT_ONCE)]
        return {"faces": torch.cat([one.faces for one in parts]), "states": torch.cat([one.states for one in parts])}

    return Seen(**kept("faces_elsewhere" if KINDS[kind].resampler else "faces_others", make))


def _read(shown: list[Portrait], recognise: Recogniser) -> Seen:
    side = PICTURE // 2
    levels = (draw(shown, side).movedim(1, -1) * 255).round()
    placed = [(picture, at[None]) for picture, at in zip(levels, points(shown, side), strict=True)]
    faces = recognise(torch.cat([align(picture, at, CROP) for picture, at in placed]))
    states = host.states(torch.cat([crops(picture, at) for picture, at in placed]))
    return Seen(normalize(faces), states.half())


def examples(kind: str) -> TensorExamples:
    """Latents of portraits, what is read of faces, and captions that rarely tell who it is."""
    read, dice = learned_from(kind), np.random.default_rng(67)
    count = len(read.faces)
    said = pictures.captions("train", silence=0.15, nameless=0.75)[:count]
    texts = ["" if dice.random() < UNSAID else text for text in said]
    rows = {
        "latents": pictures.latents("train")[:count],
        "features": _joined(read, kind),
        "context": _contexts(texts).half(),
        "counts": pictures.counts("train")[:count],
    }
    return TensorExamples(rows, {"features": _joined(nobody(1), kind), "context": _contexts([""])})


def _contexts(texts: list[str]) -> Tensor:
    return host.contexts(texts, base.FILE)


def _joined(read: Seen, kind: str) -> Tensor:
    """What an adapter reads, in one tensor, (n, …), as the trainer passes it on."""
    return torch.cat([one.flatten(1).half() for one in read.of(kind)], dim=1)


def _parted(states: int, _: nn.Module, read: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What `_joined` joined, before an adapter reads it."""
    (joined,) = read
    face, rest = joined[:, :WIDTH], joined[:, WIDTH:]
    return (face, rest.unflatten(1, (-1, states))) if rest.numel() else (face,)


def beginning(kind: str) -> nn.Module:
    """A new adapter of a kind."""
    model, states = host.checkpoint(base.FILE).model, host.blank_states().shape[-1]
    shape = geometry(model.model.model_config.unet_config)
    network = begun(KINDS[kind].sizes(shape.context, states), shape, attention_weights(model))
    network.register_forward_pre_hook(partial(_parted, states))
    return network


def main(kind: str, steps: int = STEPS) -> None:
    """Train and write an adapter."""
    frozen = HostBase(host.checkpoint(base.FILE).model)
    adapters.teach(beginning(kind), frozen, examples(kind), file(kind), f"faces_{kind}", adapters.recipe(steps))
