"""TABLE of the two ways to compute: the right one, and that of IPAdapter Plus with its known errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...ip_adapter_core.compat.words import NORM_AVERAGE_OF_OLD
from ...ip_adapter_core.faces.detection import DetectedFaces
from ...ip_adapter_core.prompts.features import AdapterInputs, Features
from ...ip_adapter_core.vision.enhance import join_embeds, join_embeds_as_grid
from ..host import encoding, old_pack, server, vision
from ..host.adapters import LoadedAdapter

SETTING = "IPAdapter.numbers"
RIGHT, OLD, OF_SERVER = "right", "IPAdapter Plus", "as set for the server"
CHOICES = (OF_SERVER, RIGHT, OLD)
"""The menu of the row on each node."""


class Numbers(NamedTuple):
    """A way to compute: a row of NUMBERS.

    encode: encoder, images and a mask (masks, size, size) or None -> features.
    blank: adapter, encoder and what it reads of the images -> what it reads of no image.
    combines: words of the old menu -> rows of combine.COMBINE_MODES, where they differ.
    first_negative: whether mixtures of images are negated by the first negative image alone, not by their mixture.
    skip_middle: whether the middle block is left out.
    face: which of the faces of a picture is read.
    normed_faces: whether faces are read at length 1 whatever the kind, except portrait unnorm.
    join_embeds: embeds of the parts of pictures and their number along a side -> embeds of the pictures.
    shares_overlaps: whether tiles share the places in which they overlap; else all of them act there.
    """

    encode: Callable[[Any, Tensor, Tensor | None], Features]
    blank: Callable[[LoadedAdapter, Any, AdapterInputs], AdapterInputs]
    combines: Mapping[str, str] = {}
    first_negative: bool = False
    skip_middle: bool = False
    face: Callable[[DetectedFaces], DetectedFaces] = DetectedFaces.largest
    normed_faces: bool = False
    join_embeds: Callable[[Tensor, int], Tensor] = join_embeds
    shares_overlaps: bool = True


def _black(adapter: LoadedAdapter, encoder: Any, cond: AdapterInputs) -> AdapterInputs:
    """As `encoding.blank_inputs`, with a black picture where that has one of zeros after normalisation."""
    blank = encoding.zero_inputs(adapter, cond)
    if all(part is not None for part in blank):
        return tuple(part for part in blank if part is not None)
    features = old_pack.encode(encoder, old_pack.black(encoder))
    pairs = zip(adapter.identity.variant.reads, blank, strict=True)
    return tuple(getattr(features, field) if part is None else part for field, part in pairs)


NUMBERS: dict[str, Numbers] = {
    RIGHT: Numbers(vision.encode_masked, encoding.blank_inputs),
    OLD: Numbers(
        old_pack.encode,
        _black,
        NORM_AVERAGE_OF_OLD,
        first_negative=True,
        skip_middle=True,
        face=lambda faces: faces.pick(torch.arange(len(faces.scores)) < 1),
        normed_faces=True,
        join_embeds=join_embeds_as_grid,
        shares_overlaps=False,
    ),
}


def chosen(row: str) -> str:
    """The row of NUMBERS that a node's own row, or the server's setting, means."""
    word = server.setting(SETTING, RIGHT) if row not in NUMBERS else row
    return word if word in NUMBERS else RIGHT
