"""The shipped models in the host's hands, as a graph would load them."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import comfy.sd
import torch
from torch import Tensor

from ...ip_adapter_core.prompts.features import Features
from ...ip_adapter_core.small_world.world import SIDE
from ...ip_adapter_core.vision import encoder as vision
from ...ip_adapter_core.vision.preprocess import fit
from ...nodes.host import small_world
from . import base, clip

_CHUNK = 100


class Loaded(NamedTuple):
    """What CheckpointLoaderSimple gives."""

    model: Any
    clip: Any
    vae: Any


def checkpoint(path: Path = base.FILE) -> Loaded:
    """A text-to-image model through the host's own loader."""
    return _checkpoint(path)


@cache
def _checkpoint(path: Path) -> Loaded:
    small_world.register()
    return Loaded(*comfy.sd.load_checkpoint_guess_config(str(path), output_vae=True, output_clip=True)[:3])


@cache
def encoder() -> vision.VisionEncoder:
    """The vision tower through the package's own loader."""
    return vision.load(clip.FILE, dtype=torch.float32)


def features(pictures: Tensor) -> Features:
    """Features of pictures or sketches (n, 3, h, w), 0 to 1."""
    parts = list(_encoded(pictures))
    return Features(torch.cat([part.embeds for part in parts]), torch.cat([_hidden(part) for part in parts]))


def states(pictures: Tensor) -> Tensor:
    """What the encoder says of every patch of such pictures, (n, patches, width)."""
    return torch.cat([_hidden(part) for part in _encoded(pictures)])


def _encoded(pictures: Tensor) -> Iterator[vision.VisionOutput]:
    return (vision.encode(encoder(), fit(part.movedim(1, -1), SIDE)) for part in pictures.split(_CHUNK))


def blank() -> Features:
    """Features of a missing image: a zero embedding, and the hidden states of the mean colour."""
    return Features(torch.zeros_like(vision.blank(encoder()).embeds), blank_states())


def blank_states() -> Tensor:
    """What the encoder says of every patch of the mean colour, (1, patches, width)."""
    return _hidden(vision.blank(encoder()))


def contexts(texts: list[str], path: Path = base.FILE) -> Tensor:
    """The output of a checkpoint's text encoder for captions, (n, 32, 128)."""
    text = checkpoint(path).clip
    by_text = {caption: text.encode_from_tokens(text.tokenize(caption)) for caption in dict.fromkeys(texts)}
    return torch.cat([by_text[caption] for caption in texts])


def _hidden(seen: vision.VisionOutput) -> Tensor:
    if seen.penultimate is None:
        raise ValueError("The small world's encoder has tokens; this one has none.")
    return seen.penultimate
