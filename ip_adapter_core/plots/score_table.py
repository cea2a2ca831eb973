"""A picture of scores: a row for each picture, a column for each reference and each text, and colours for the eye."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

from ..vision.scores import Scores
from .drawing import FAINT, INK, PAPER, font, ink_on, lines, thumbnail
from .heat_map import colours

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

MOST_ROWS, MOST_COLUMNS = 40, 20  # more would not be read, and the picture would not fit into memory

_THUMBNAIL = 112  # pixels along the long side
_COLUMN, _ROW = 144, 120
_SIDE, _TOP = 176, 48  # of the pictures, and of the names of the measures
_MARGIN, _LETTERS, _SMALL, _NUMBERS = 20, 22, 16, 24


class _Part(NamedTuple):
    """One measure.

    name: as it is written above its columns.
    cosines: (pictures, others).
    first: number of its first column.
    """

    name: str
    cosines: Tensor
    first: int

    @property
    def tones(self) -> np.ndarray:
        """The cosines between their least, 0, and their highest, 1: (pictures, others)."""
        numbers = self.cosines.numpy()
        spread = numbers.max() - numbers.min()
        return (numbers - numbers.min()) / spread if spread > 0 else np.full_like(numbers, 0.5)


def draw(scores: Scores, pictures: Tensor, references: Tensor | None = None) -> Image:
    """The scores with thumbnails of pictures and references, as an RGB picture.

    pictures, references: (images, height, width, channels), 0..1. The colours of each measure go from its least number
    to its highest. Rows and columns beyond MOST_ROWS and MOST_COLUMNS are counted below the table.
    """
    from PIL import Image, ImageDraw

    parts = _parts(scores)
    rows = min(len(pictures), MOST_ROWS)
    columns = sum(part.cosines.shape[1] for part in parts)
    left_out = _left_out(len(pictures) - rows, len(scores.columns) - columns)
    height = 2 * _MARGIN + _TOP + _ROW * (rows + 1) + (_TOP if left_out else 0)
    sheet = Image.new("RGB", (2 * _MARGIN + _SIDE + _COLUMN * columns, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    means = [mean for mean in scores.means if not isnan(mean)]
    for part, mean in zip(parts, means, strict=False):
        pen.text((_left(part.first), _MARGIN + _TOP / 2), f"{part.name} {mean:.3f}", INK, font(_LETTERS), "lm")
        _draw_numbers(pen, part)
    _draw_heads(sheet, pen, parts, scores.texts, references)
    for row, picture in enumerate(pictures[:rows]):
        pen.text((_MARGIN, _top(row) + _ROW / 2), str(row + 1), INK, font(_LETTERS), "lm")
        _paste(sheet, picture, (_MARGIN + (_SIDE + _SMALL) // 2, _top(row) + _ROW // 2))
    pen.text((_MARGIN, height - _MARGIN - _TOP / 2), left_out, FAINT, font(_SMALL), "lm")
    return sheet


def _parts(scores: Scores) -> list[_Part]:
    """The measures that there are, as far as they are drawn."""
    parts: list[_Part] = []
    first = 0
    for name, cosines in (("CLIP-I", scores.clip_i), ("CLIP-T", scores.clip_t)):
        if cosines is not None and first < MOST_COLUMNS:
            parts.append(_Part(name, cosines[:MOST_ROWS, : MOST_COLUMNS - first], first))
            first += parts[-1].cosines.shape[1]
    return parts


def _left_out(rows: int, columns: int) -> str:
    """What is not drawn, in words."""
    counted = [f"{count} more {what}" for count, what in ((rows, "pictures"), (columns, "columns")) if count > 0]
    return ", ".join(counted)


def _draw_heads(
    sheet: Image, pen: ImageDraw, parts: list[_Part], texts: tuple[str, ...], references: Tensor | None
) -> None:
    """Thumbnails of references and texts above their columns."""
    heads = [[] if references is None else list(references), texts]
    for part in parts:
        for number, head in enumerate(heads[part.name == "CLIP-T"][: part.cosines.shape[1]]):
            left, middle = _left(part.first + number), _MARGIN + _TOP + _ROW // 2
            if isinstance(head, str):
                written = "\n".join(lines(head, _COLUMN - 8, _SMALL, most=5))
                pen.multiline_text((left + _COLUMN / 2, middle), written, INK, font(_SMALL), "mm", align="center")
            else:
                _paste(sheet, head, (left + _COLUMN // 2, middle))


def _draw_numbers(pen: ImageDraw, part: _Part) -> None:
    shades = colours(part.tones)
    for (row, column), cosine in np.ndenumerate(part.cosines.numpy()):
        left, top = _left(part.first + column), _top(row)
        colour = shades[row, column]
        fill = tuple((colour * 255).round().astype(int).tolist())
        pen.rectangle((left, top, left + _COLUMN - 2, top + _ROW - 2), fill=fill)
        pen.text((left + _COLUMN / 2, top + _ROW / 2), f"{cosine:.3f}", ink_on(colour), font(_NUMBERS), "mm")


def _paste(sheet: Image, picture: Tensor, middle: tuple[int, int]) -> None:
    small = thumbnail(picture, _THUMBNAIL)
    sheet.paste(small, (middle[0] - small.width // 2, middle[1] - small.height // 2))


def _left(column: int) -> int:
    return _MARGIN + _SIDE + column * _COLUMN


def _top(row: int) -> int:
    return _MARGIN + _TOP + (row + 1) * _ROW
