"""A sheet of sampled pictures in rows and columns, with what varies written along them and the references beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from .drawing import INK, PAPER, font, lines, thumbnail

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

TILE = 384  # pixels of the long side of a cell

_MARGIN, _GAP = 24, 12
_HEAD, _SIDE, _REFERENCE = 48, 200, 168
_LETTERS = 24
_THUMBNAIL = 152  # pixels along the long side of a reference


class Label(NamedTuple):
    """What is said of a row or a column.

    words: in letters.
    picture: the reference of this row or column, (height, width, channels), 0..1; None where it has none of its own.
    """

    words: str
    picture: Tensor | None = None


class Labels(NamedTuple):
    """What is said around the cells.

    across: of the columns, from the left; none where nothing varies across.
    down: of the rows, from the top; none where nothing varies down.
    references: what all cells follow together, (images, height, width, channels), or None.
    """

    across: Sequence[Label] = ()
    down: Sequence[Label] = ()
    references: Tensor | None = None


def draw(cells: Sequence[Tensor], labels: Labels) -> Image:
    """The cells (height, width, channels), 0..1, row by row under their labels, as an RGB picture.

    All cells have one size. References that all cells share stand in a column of their own at the right side.
    """
    from PIL import Image, ImageDraw

    columns = max(1, len(labels.across))
    tiles = [thumbnail(cell, TILE) for cell in cells]
    width, height = tiles[0].size
    rows = -(-len(tiles) // columns)
    left = _MARGIN + (_SIDE if labels.down else 0)
    top = _MARGIN + _height(labels.across)
    shared = () if labels.references is None else list(labels.references)
    right, bottom = left + columns * (width + _GAP), top + rows * (height + _GAP)
    sheet = Image.new("RGB", (right + (_REFERENCE if shared else 0) + _MARGIN - _GAP, bottom + _MARGIN - _GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        sheet.paste(tile, (left + column * (width + _GAP), top + row * (height + _GAP)))
    for number, label in enumerate(labels.across):
        _write(sheet, pen, label, (left + number * (width + _GAP) + width // 2, _MARGIN), width)
    for number, label in enumerate(labels.down):
        beginning = top + number * (height + _GAP) + (height - _height([label])) // 2
        _write(sheet, pen, label, (_MARGIN + (_SIDE - _GAP) // 2, beginning), _SIDE - _GAP)
    _show(sheet, pen, shared, (right + (_REFERENCE - _GAP) // 2, top))
    return sheet


def _height(labels: Sequence[Label]) -> int:
    """Pixels that labels need one above the other in a head: of their words, and of a reference."""
    if not labels:
        return 0
    return _HEAD + (_THUMBNAIL + _GAP if any(label.picture is not None for label in labels) else 0)


def _write(sheet: Image, pen: ImageDraw, label: Label, at: tuple[int, int], room: int) -> None:
    """A label with its reference below; at: the middle of its upper edge."""
    middle, top = at
    size = _LETTERS if len(lines(label.words, room, _LETTERS, most=9)) == 1 else _LETTERS * 2 // 3
    written = "\n".join(lines(label.words, room, size, most=2))
    pen.multiline_text((middle, top + _HEAD / 2), written, INK, font(size), "mm", align="center")
    if label.picture is not None:
        small = thumbnail(label.picture, min(_THUMBNAIL, room))
        sheet.paste(small, (middle - small.width // 2, top + _HEAD + (_THUMBNAIL - small.height) // 2))


def _show(sheet: Image, pen: ImageDraw, references: Sequence[Tensor], at: tuple[int, int]) -> None:
    """References one below the other, as many as there is room for, and the number of the others."""
    middle, top = at
    for number, reference in enumerate(references):
        small = thumbnail(reference, _THUMBNAIL)
        is_last = number == len(references) - 1
        if number and top + small.height + (0 if is_last else _HEAD) > sheet.height - _MARGIN:
            pen.text((middle, top + _HEAD / 2), f"+ {len(references) - number}", INK, font(_LETTERS), "mm")
            return
        sheet.paste(small, (middle - small.width // 2, top))
        top += small.height + _GAP
