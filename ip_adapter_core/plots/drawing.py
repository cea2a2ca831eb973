"""What all drawn pictures share: colours, legible on nodes of dark and light themes, and letters in any size."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

PAPER = "#2a2d33"
INK, FAINT = "#eceae4", "#adb2ba"  # of what is read first, and beside it
EDGE, GRID, TRACK, SHADE = "#8b919b", "#454a53", "#353941", "#34424f"

BLUE, ORANGE, GREEN, PINK = "#6db3f2", "#f2a24f", "#72cf90", "#e88fca"
RED, VIOLET, YELLOW, TEAL = "#f58080", "#b3a4f7", "#d8c861", "#63d0d1"
DIM_BLUE = "#57799c"  # of a curve behind another

SERIES = (BLUE, ORANGE, GREEN, PINK, RED, VIOLET, YELLOW, TEAL)
"""Colours of things that stand side by side; words in them are legible on the paper, and paper on them."""


class Mark(NamedTuple):
    """The colours of a mark with a word in it.

    paper: of the mark.
    ink: of its word.
    """

    paper: str
    ink: str


STYLE, COMPOSITION = Mark("#5b2c44", "#ffbdd6"), Mark("#1f4d39", "#a9ecc7")

# Lightness rises evenly in OKLab, from 0.20 to 0.97, while the hue goes from violet over red to yellow.
HEAT = ("#17004a", "#420067", "#730b6f", "#a22769", "#cc455a", "#ee6c44", "#ff9b3c", "#ffcd6c", "#fffaa8")


@lru_cache
def font(size: int) -> FreeTypeFont | ImageFont:
    """PIL's own letters, this many pixels high."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
