"""Colours that people choose for borders and backgrounds: those with a name in the menu, and any that they write."""

from __future__ import annotations

from ..text.wording import quoted
from .preprocess import CLIP_MEAN

Colour = tuple[float, ...]
"""Red, green and blue, 0..1."""

GREY, BLACK, WHITE = CLIP_MEAN, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

COLOURS: dict[str, Colour] = {"grey": GREY, "black": BLACK, "white": WHITE}
"""Word of a menu -> its colour; grey is the mean of the pictures that CLIP learned from, which says least to it."""

WRITTEN = "colour"
"""Word of a menu for a colour that is written."""


def colour_of(word: str, written: str) -> Colour:
    """The colour of a row of COLOURS, or for WRITTEN the one that is written. Raises ValueError as `read_colour`."""
    return COLOURS[word] if word in COLOURS else read_colour(written)


def read_colour(text: str) -> Colour:
    """A colour as web pages write it: #rrggbb, #rgb, or an English name. Raises ValueError for another text."""
    from PIL import ImageColor

    try:
        return tuple(level / 255 for level in ImageColor.getrgb(text.strip())[:3])
    except ValueError:
        raise ValueError(f"Write colour as #rrggbb, such as #808080, or by its name; found {quoted(text)}.") from None
