"""Features of several images as one tensor, before any adapter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..text.checks import check_choice
from .combine import COMBINE_MODES

METHODS = tuple(name for name, mode in COMBINE_MODES.items() if mode.merge or mode.shares_softmax)
"""Rows of COMBINE_MODES that mean something before there is an adapter."""


def combine_embeds(embeds: Sequence[Tensor], how: str) -> Tensor:
    """Features (images, …, width) of several sources, side by side or merged into those of one image.

    how: one of METHODS. Raises ValueError for another, and when the features are of different encoders.
    """
    _check(embeds, how)
    joined, merge = torch.cat(list(embeds)), COMBINE_MODES[how].merge
    return joined if merge is None else merge(joined, torch.ones(len(joined)))


def _check(embeds: Sequence[Tensor], how: str) -> None:
    check_choice("method", how, METHODS)
    if not embeds:
        raise ValueError("Connect embeds to combine; found none.")
    shapes = [list(part.shape[1:]) for part in embeds]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            f"Combine embeds of one encoder and one kind of adapter only; found embeds of {shapes[0]} and of "
            f"{next(shape for shape in shapes if shape != shapes[0])} numbers for each image."
        )
