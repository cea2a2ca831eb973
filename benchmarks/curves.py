"""A picture of how cost grows: a panel for each thing that grows, with a curve for each way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..ip_adapter_core.plots.axes import axis
from ..ip_adapter_core.plots.drawing import BLUE, ORANGE, PAPER
from ..ip_adapter_core.plots.schedule import SIZE, Plane, panel

if TYPE_CHECKING:
    from PIL.Image import Image

Curves = Mapping[str, Sequence[Sequence[float]]]

COLOURS = BLUE, ORANGE  # in the order of the curves
_WIDTH, _COLUMNS = 6, 2
STRIP = 56  # below the panels, with the names of the curves
_LETTERS, _GAP = 20, 24


def draw(growth: Mapping[str, Curves], path: Path) -> None:
    """Write the picture of all panels, two in a row, and the names of the curves below."""
    from PIL import Image

    bottom = SIZE[1] * -(-len(growth) // _COLUMNS)
    whole = Image.new("RGB", (SIZE[0] * _COLUMNS, bottom + STRIP), PAPER)
    _name(whole, next(iter(growth.values())), bottom + STRIP // 2)
    for number, (name, curves) in enumerate(growth.items()):
        row, column = divmod(number, _COLUMNS)
        whole.paste(_panel(name, curves), (SIZE[0] * column, SIZE[1] * row))
    whole.save(path)


def _name(whole: Image, names: Iterable[str], middle: int) -> None:
    """Write each name in the colour of its curve, one after another."""
    from PIL import ImageDraw, ImageFont

    pen, font, left = ImageDraw.Draw(whole), ImageFont.load_default(_LETTERS), float(STRIP)
    for name, colour in zip(names, COLOURS, strict=True):
        pen.text((left, middle), name, fill=colour, anchor="lm", font=font)
        left += pen.textlength(name, font=font) + _GAP


def _panel(name: str, curves: Curves) -> Image:
    values = [at for at, _ in next(iter(curves.values()))]
    most = max(taken for points in curves.values() for _, taken in points)

    def drawn(plane: Plane) -> None:
        plane.grid(f"ms per call, by {name}")
        for points, colour in zip(curves.values(), COLOURS, strict=True):
            pixels = plane.pixels(*zip(*points, strict=True))
            plane.line(pixels, colour, _WIDTH)
            plane.dots(pixels, colour)

    return panel(axis(0, max(values)), axis(0, most), drawn)
