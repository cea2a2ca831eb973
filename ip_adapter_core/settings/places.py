"""Parts of a picture by name, as masks: for users who need no shape of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from ..text.checks import check_choice

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, as parts of the picture's width and height."""

THIRD = 1 / 3

PLACES: dict[str, Box] = {
    "whole picture": (0, 0, 1, 1),
    "left half": (0, 0, 0.5, 1),
    "right half": (0.5, 0, 1, 1),
    "top half": (0, 0, 1, 0.5),
    "bottom half": (0, 0.5, 1, 1),
    "top left quarter": (0, 0, 0.5, 0.5),
    "top right quarter": (0.5, 0, 1, 0.5),
    "bottom left quarter": (0, 0.5, 0.5, 1),
    "bottom right quarter": (0.5, 0.5, 1, 1),
    "left third": (0, 0, THIRD, 1),
    "middle third": (THIRD, 0, 2 * THIRD, 1),
    "right third": (2 * THIRD, 0, 1, 1),
    "top third": (0, 0, 1, THIRD),
    "third between top and bottom": (0, THIRD, 1, 2 * THIRD),
    "bottom third": (0, 2 * THIRD, 1, 1),
    "centre": (0.25, 0.25, 0.75, 0.75),
}
"""Places by name; the first is the default."""

WHOLE = next(iter(PLACES))

SIDE = 768
"""Of a mask, in pixels: halves, thirds and quarters of it are whole, and it is finer than the latents of pictures up to
6144 pixels, so that edges stay sharp where the host reads masks between its pixels."""


def mask(place: str) -> Tensor:
    """A place as a mask for pictures of any size, (1, SIDE, SIDE), 0 or 1. Raises ValueError for another name."""
    check_choice("place", place, PLACES)
    left, top, right, bottom = (round(part * SIDE) for part in PLACES[place])
    drawn = torch.zeros(1, SIDE, SIDE)
    drawn[:, top:bottom, left:right] = 1
    return drawn
