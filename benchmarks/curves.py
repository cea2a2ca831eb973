"""A picture of how cost grows: a panel for each thing that grows, our curve and the peers'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..ip_adapter_core.axes import axis
from ..ip_adapter_core.curve_picture import SIZE, Plane, panel

if TYPE_CHECKING:
    from PIL.Image import Image

Curves = Mapping[str, Sequence[Sequence[float]]]

COLOURS = ("#1f5fa8", "#e0a458")  # in the order of the curves
_WIDTH, _COLUMNS = 6, 2
_PAPER = "#ffffff"


def draw(growth: Mapping[str, Curves], path: Path) -> None:
    """Write the picture of all panels, two in a row."""
    from PIL import Image

    rows = -(-len(growth) // _COLUMNS)
    whole = Image.new("RGB", (SIZE[0] * _COLUMNS, SIZE[1] * rows), _PAPER)
    for number, (name, curves) in enumerate(growth.items()):
        row, column = divmod(number, _COLUMNS)
        whole.paste(_panel(name, curves), (SIZE[0] * column, SIZE[1] * row))
    whole.save(path)


def _panel(name: str, curves: Curves) -> Image:
    values = [at for at, _ in next(iter(curves.values()))]
    most = max(taken for points in curves.values() for _, taken in points)

    def drawn(plane: Plane) -> None:
        plane.grid(f"ms per call, by {name}")
        for points, colour in zip(curves.values(), COLOURS, strict=True):
            plane.line(plane.places(*zip(*points, strict=True)), colour, _WIDTH)

    return panel(axis(0, max(values)), axis(0, most), drawn)
