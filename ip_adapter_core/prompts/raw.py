"""Features of several images as one tensor, before any adapter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .combine import COMBINE_MODES


def combine_embeds(embeds: Sequence[Tensor], how: str) -> Tensor:
    """Features (images, …, width) of several sources, side by side or merged into those of one image.

    how: "concat", or a row of COMBINE_MODES that merges. Raises ValueError when they are of different encoders.
    """
    shapes = [list(part.shape[1:]) for part in embeds]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(
            f"Combine embeds of one encoder and one kind of adapter only; found embeds of {shapes[0]} and of "
            f"{next(shape for shape in shapes if shape != shapes[0])} numbers for each image."
        )
    joined, merge = torch.cat(list(embeds)), COMBINE_MODES[how].merge
    return joined if merge is None or len(joined) == 1 else merge(joined, torch.ones(len(joined)))
