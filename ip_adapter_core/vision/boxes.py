"""Where a square is cut out of a picture: at a side, around a point, or around what a mask is white on."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

POSITIONS: dict[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "top": (0.5, 0.0),
    "bottom": (0.5, 1.0),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
}
"""Where the square lies: shares of the free space to its left and above it, 0..1."""


class Box(NamedTuple):
    """A part of a picture in pixels; right and bottom are the first that no longer belong to it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.bottom - self.top


def whole(width: int, height: int) -> Box:
    """All of a picture."""
    return Box(0, 0, width, height)


def at_position(width: int, height: int, position: str) -> Box:
    """The largest square of a picture at a row of POSITIONS."""
    side = min(width, height)
    across, down = POSITIONS[position]
    return _square(int(across * (width - side)), int(down * (height - side)), side)


def around_point(width: int, height: int, point: tuple[float, float]) -> Box:
    """The largest square of a picture around a point, as far as the picture goes; point: shares of it, 0..1."""
    side = min(width, height)
    left, top = (
        min(max(round(share * length - side / 2), 0), length - side)
        for share, length in zip(point, (width, height), strict=True)
    )
    return _square(left, top, side)


def around_mask(mask: Tensor, margin: float = 0.0) -> Box:
    """The square around what a mask (height, width) is white on; it stays inside of the picture.

    White is what is at least half as white as the whitest pixel; where nothing is, all of it counts. margin: what is
    added on each side, in percent of the longer side of the white part, as far as a square of the picture goes. Where
    the white part itself is longer than the picture's short side, no square holds it, and the box is as near to one as
    it can be.
    """
    height, width = mask.shape
    white = mask >= mask.amax() / 2
    (top, bottom), (left, right) = (_ends(white.any(axis)) for axis in (1, 0))
    longest = max(right - left, bottom - top)
    side = max(longest, min(round(longest * (1 + margin / 50)), min(width, height)))
    (left, right), (top, bottom) = _stretched(left, right, side, width), _stretched(top, bottom, side, height)
    return Box(left, top, right, bottom)


def _square(left: int, top: int, side: int) -> Box:
    return Box(left, top, left + side, top + side)


def _ends(white: Tensor) -> tuple[int, int]:
    places = white.nonzero()
    return int(places[0]), int(places[-1]) + 1


def _stretched(begin: int, end: int, side: int, length: int) -> tuple[int, int]:
    """A stretch of this side around another, shifted or shortened to lie within 0..length."""
    side = min(side, length)
    begin = min(max((begin + end - side) // 2, 0), length - side)
    return begin, begin + side
