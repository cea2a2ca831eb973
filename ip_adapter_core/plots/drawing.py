"""What all drawn pictures share: colours for dark and light themes, letters in any size, and small pictures."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image
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


_DARK = 0.179  # luminance on which white and black have one contrast
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue in linear light, as WCAG 2.1 has it


def ink_on(colour: np.ndarray) -> str:
    """White or black, whichever has more contrast on a colour (3,), 0..1; it is 4.5 or more on every colour."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return "white" if linear @ np.array(_LUMINANCE) < _DARK else "black"


@lru_cache
def font(size: int) -> FreeTypeFont | ImageFont:
    """PIL's own letters, this many pixels high."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def width(text: str, size: int) -> float:
    """Pixels that a text takes in letters of this size."""
    return font(size).getlength(text)


def lines(text: str, room: int, size: int, most: int) -> list[str]:
    """A text in at most so many lines of this many pixels, broken at blanks; what is too long ends with an ellipsis."""
    broken = [""]
    for word in text.split():
        longer = f"{broken[-1]} {word}".strip()
        if width(longer, size) <= room or not broken[-1]:
            broken[-1] = longer
        else:
            broken.append(word)
    if len(broken) > most:
        broken[most - 1 :] = [" ".join(broken[most - 1 :])]
    return [_cut(line, room, size) for line in broken]


def thumbnail(picture: Tensor, longest: int) -> Image:
    """A picture (height, width, channels), 0..1, with its long side at this many pixels, in RGB.

    What is smaller is enlarged in whole pixels, so that nothing is made up.
    """
    from PIL import Image

    pixels = picture[..., :3].detach().cpu().float().nan_to_num().clamp(0, 1)
    levels = (pixels.expand(*pixels.shape[:2], 3).numpy() * 255).round().astype(np.uint8)
    drawn, scale = Image.fromarray(levels), longest / max(levels.shape[:2])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in drawn.size]
        return drawn.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    times = int(scale)
    return drawn.resize((drawn.width * times, drawn.height * times), Image.Resampling.NEAREST)


def _cut(line: str, room: int, size: int) -> str:
    if width(line, size) <= room:
        return line
    kept = next((n for n in range(len(line), 0, -1) if width(line[:n] + "…", size) <= room), 0)
    return line[:kept] + "…"
