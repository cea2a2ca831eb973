"""TABLE of the two ways to compute: the right one, and that of IPAdapter Plus with its known errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...ip_adapter_core.attention.application import ApplyOptions
from ...ip_adapter_core.compat.words import NORM_AVERAGE_OF_OLD, OLD_NUMBERS, RIGHT_NUMBERS
from ...ip_adapter_core.faces.detection import CHOICES
from ...ip_adapter_core.prompts.features import Features
from ...ip_adapter_core.vision.enhance import join_embeds, join_embeds_as_grid
from ..host import old_pack, server, vision
from ..host.faces import Choose

SETTING = "IPAdapter.numbers"

_AS_TRAINED = ApplyOptions()


class Numbers(NamedTuple):
    """A way to compute: a row of NUMBERS.

    encode: encoder, images and a mask (masks, size, size) or None -> features.
    blank: encoder -> features of the image that stands for none.
    combines: words of the old menu -> rows of combine.COMBINE_MODES, where they differ.
    first_negative: whether mixtures of images are negated by the first negative image alone, not by their mixture.
    options: how a prompt is put on a model, as far as that does not depend on the node.
    face: which of the faces of a picture is read, as one of detection.CHOICES.
    normed_faces: whether faces are read at length 1 whatever the kind, except portrait unnorm.
    join_embeds: embeds of the parts of pictures and their number along a side -> embeds of the pictures.
    shares_overlaps: whether tiles share the places in which they overlap; else all of them act there.
    """

    encode: Callable[[Any, Tensor, Tensor | None], Features]
    blank: Callable[[Any], Features]
    combines: Mapping[str, str] = {}
    first_negative: bool = False
    options: ApplyOptions = _AS_TRAINED
    face: Choose = CHOICES["largest"]
    normed_faces: bool = False
    join_embeds: Callable[[Tensor, int], Tensor] = join_embeds
    shares_overlaps: bool = True


NUMBERS: dict[str, Numbers] = {
    RIGHT_NUMBERS: Numbers(vision.encode_masked, vision.blank_features),
    OLD_NUMBERS: Numbers(
        old_pack.encode,
        old_pack.black_features,
        NORM_AVERAGE_OF_OLD,
        first_negative=True,
        options=ApplyOptions(skip_middle=True, mean_of_each=True, point_masks=True),
        face=lambda faces, index: faces.pick(torch.arange(len(faces.scores)) < 1),
        normed_faces=True,
        join_embeds=join_embeds_as_grid,
        shares_overlaps=False,
    ),
}


def numbers_of(row: Any) -> Numbers:
    """The way that a node's own row, or the server's setting, means."""
    return NUMBERS[chosen(row)]


def chosen(row: Any) -> str:
    """Its name in NUMBERS."""
    word = row if row in NUMBERS else server.setting(SETTING, RIGHT_NUMBERS)
    return word if word in NUMBERS else RIGHT_NUMBERS
