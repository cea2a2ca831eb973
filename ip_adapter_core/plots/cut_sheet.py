"""What became of pictures: each with the cut drawn in, and beside it the square that came out."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

from ..vision.boxes import Box
from .drawing import INK, ORANGE, PAPER, font, thumbnail

if TYPE_CHECKING:
    from PIL.Image import Image

MOST = 48
"""Pictures on a sheet; of more, the number is written."""

TILE, LEAST = 256, 96
"""Pixels along a side of a tile: on a sheet of few pictures, and of many."""

GAP, _MARGIN = 8, 12
_WIDEST = 1200  # pixels of a sheet, about
_DARK = 0.35  # share of the light that what is cut off keeps
_LINE = 2
_FOOT, _LETTERS = 36, 20


class Cut(NamedTuple):
    """A picture and what became of it.

    picture: (height, width, channels), 0..1.
    box: what was cut out of it, in its pixels.
    square: what came out, (size, size, channels), 0..1.
    """

    picture: Tensor
    box: Box
    square: Tensor


def draw(cuts: Sequence[Cut]) -> Image:
    """A sheet of pictures, row by row, each beside its square, as an RGB picture."""
    from PIL import Image, ImageDraw

    shown = cuts[:MOST]
    columns = max(1, ceil(sqrt(len(shown) / 2)))
    tile = max(LEAST, min(TILE, _WIDEST // (2 * columns)))
    width, height = 2 * tile + GAP, tile
    rows, hidden = ceil(len(shown) / columns), len(cuts) - len(shown)
    across, down = (
        2 * _MARGIN + count * (side + 2 * GAP) - 2 * GAP for count, side in ((columns, width), (rows, height))
    )
    sheet = Image.new("RGB", (across, down + (_FOOT if hidden else 0)), PAPER)
    for number, cut in enumerate(shown):
        row, column = divmod(number, columns)
        left, top = _MARGIN + column * (width + 2 * GAP), _MARGIN + row * (height + 2 * GAP)
        _paste(sheet, _with_cut(cut, tile), (left, top), tile)
        _paste(sheet, thumbnail(cut.square, tile), (left + tile + GAP, top), tile)
    if hidden:
        middle = across / 2, down + (_FOOT - _MARGIN) / 2
        ImageDraw.Draw(sheet).text(middle, f"+ {hidden}", INK, font(_LETTERS), "mm")
    return sheet


def _paste(sheet: Image, picture: Image, corner: tuple[int, int], tile: int) -> None:
    """Puts a picture in the middle of its tile."""
    left, top = (begin + (tile - side) // 2 for begin, side in zip(corner, picture.size, strict=True))
    sheet.paste(picture, (left, top))


def _with_cut(cut: Cut, tile: int) -> Image:
    """A picture, darkened outside of its box, and a frame around that."""
    from PIL import Image, ImageDraw

    small = thumbnail(cut.picture, tile)
    height, width = cut.picture.shape[:2]
    left, right = (round(side * small.width / width) for side in (cut.box.left, cut.box.right))
    top, bottom = (round(side * small.height / height) for side in (cut.box.top, cut.box.bottom))
    levels = np.asarray(small)
    dark = (levels * _DARK).astype(np.uint8)
    dark[top:bottom, left:right] = levels[top:bottom, left:right]
    drawn = Image.fromarray(dark)
    frame = (left, top, max(left, right - 1), max(top, bottom - 1))
    ImageDraw.Draw(drawn).rectangle(frame, outline=ORANGE, width=_LINE)
    return drawn
