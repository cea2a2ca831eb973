"""What fills the borders of a picture that is not square: a colour, the picture mirrored, or that blurred."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .preprocess import CLIP_MEAN

_BLUR = 24  # the blur's deviation is this part of the square's side

Borders = tuple[tuple[int, int], tuple[int, int]]
"""Pixels above and below, left and right."""


class Border(NamedTuple):
    """What fills borders.

    filling: a row of FILLINGS.
    colour: of a plain border, 0..1.
    """

    filling: str = "plain"
    colour: Sequence[float] = CLIP_MEAN


def squared(picture: np.ndarray, border: Border, even: bool = False) -> np.ndarray:
    """A picture (height, width, 3) in eight-bit levels in the middle of a square of its longer side, unchanged.

    even: whether both borders are alike, so that the square may lack one pixel.
    """
    height, width = picture.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    below, right = (top, left) if even else (side - height - top, side - width - left)
    canvas = FILLINGS[border.filling](picture, ((top, below), (left, right)), border.colour)
    canvas[top : top + height, left : left + width] = picture
    return canvas


def _plain(picture: np.ndarray, borders: Borders, colour: Sequence[float]) -> np.ndarray:
    sides = [length + sum(border) for length, border in zip(picture.shape[:2], borders, strict=True)]
    canvas = np.empty((*sides, 3), dtype=np.uint8)
    canvas[:] = np.round(np.asarray(colour) * 255)
    return canvas


def _mirrored(picture: np.ndarray, borders: Borders, colour: Sequence[float]) -> np.ndarray:
    return np.pad(picture, (*borders, (0, 0)), mode="symmetric")


def _blurred(picture: np.ndarray, borders: Borders, colour: Sequence[float]) -> np.ndarray:
    from PIL import Image, ImageFilter

    mirrored = _mirrored(picture, borders, colour)
    return np.array(Image.fromarray(mirrored).filter(ImageFilter.GaussianBlur(len(mirrored) / _BLUR)))


Filling = Callable[[np.ndarray, Borders, Sequence[float]], np.ndarray]

FILLINGS: dict[str, Filling] = {"plain": _plain, "mirrored": _mirrored, "blurred": _blurred}
"""What borders are made of -> makes a square (side, side, 3) with them of a picture and their widths."""
