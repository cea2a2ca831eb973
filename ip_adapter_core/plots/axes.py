"""Axes of drawn curves and bars: round numbers in a range, and their positions in pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

_TICKS = 5

ToPixels = Callable[[float], float]
"""From a number to its position along an edge, in pixels."""


class Axis(NamedTuple):
    """Numbers along an edge of a picture.

    least, most: the range.
    ticks: the round numbers in it that are written.
    """

    least: float
    most: float
    ticks: tuple[float, ...]

    def scale_to(self, start: int, end: int) -> ToPixels:
        """From numbers to pixels between start and end."""
        return lambda number: start + (number - self.least) / (self.most - self.least) * (end - start)


def axis(least: float, most: float) -> Axis:
    """An axis from least to most with round numbers."""
    if most <= least:
        least, most = least - (abs(least) or 1) / 2, least + (abs(least) or 1) / 2
    rough = (most - least) / _TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.999)
    first, last = math.ceil(least / step), math.floor(most / step)
    return Axis(least, most, tuple(step * number for number in range(first, last + 1)))
