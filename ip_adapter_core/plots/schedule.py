"""A picture of a weight schedule, for people to look at on the node that makes it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..settings.curves import UNITS, Curve
from ..settings.schedule import Schedule
from .axes import Axis, axis
from .drawing import BLUE, DIM_BLUE, EDGE, GREEN, GRID, INK, ORANGE, PAPER, PINK, SHADE, font

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SIZE = (640, 320)  # of a panel; a node shows it at about half this size
_FINER = 2  # the picture is drawn larger and reduced, for smooth edges; what follows is in the smaller pixels
_LEFT, _TOP, _RIGHT, _BOTTOM = 124, 100, 1232, 556
_LINE_WIDTH, _PART_WIDTH, _LETTERS, _TICK, _GAP = 6, 5, 42, 10, 24
_DISC = 26  # radius
_RADII = (4.0, 13.0)  # of dots: what is still seen of many, and enough for few
_PARTS = ORANGE, GREEN, PINK


class Panel(NamedTuple):
    """How a unit is drawn: a row of PANELS.

    words: what the unit counts.
    dotted: whether only whole positions exist, which are drawn as dots.
    """

    words: str
    dotted: bool


PANELS: dict[str, Panel] = {
    "percent": Panel("noise schedule", dotted=False),
    "steps": Panel("steps", dotted=True),
    "frames": Panel("frames", dotted=True),
}


class Plane:
    """A panel as a plane of positions and values, to draw curves on."""

    def __init__(self, pen: ImageDraw, across: Axis, up: Axis) -> None:
        self._pen, self._across, self._up = pen, across, up
        self._x, self._y = across.scale_to(_LEFT, _RIGHT), up.scale_to(_BOTTOM, _TOP)

    def pixels(self, positions: Iterable[float], values: Iterable[float]) -> list[tuple[float, float]]:
        """The pixels of positions and their values."""
        return [(self._x(at), self._y(value)) for at, value in zip(positions, values, strict=True)]

    def shade(self, pixels: Sequence[tuple[float, float]]) -> None:
        """Colour the area between a curve and zero."""
        (first, _), (last, _) = pixels[0], pixels[-1]
        self._pen.polygon([(first, self._y(0)), *pixels, (last, self._y(0))], fill=SHADE)

    def line(self, pixels: Sequence[tuple[float, float]], colour: str, width: int) -> None:
        """Draw a curve through these pixels."""
        self._pen.line(list(pixels), fill=colour, width=width, joint="curve")

    def label(self, pixel: tuple[float, float], text: str, colour: str) -> None:
        """Draw a disc with a short text in it."""
        x, y = pixel
        self._pen.ellipse([x - _DISC, y - _DISC, x + _DISC, y + _DISC], fill=colour)
        self._pen.text((x, y), text, fill=PAPER, anchor="mm", font=font(_LETTERS - 8))

    def legend(self, what: str, labels: Sequence[tuple[str, str]], heading: str) -> None:
        """Draw what discs with these texts and colours stand for; as many as there is room for beside the heading."""
        letters, y, x = font(_LETTERS), _TOP / 2, float(_LEFT)
        self._pen.text((x, y), what, fill=INK, anchor="lm", font=letters)
        x += self._pen.textlength(what, font=letters) + _GAP + _DISC
        step = 2 * _DISC + _GAP // 2
        room = int((_RIGHT - self._pen.textlength(heading, font=letters) - x) / step)
        for text, colour in labels[:room]:
            self.label((x, y), text, colour)
            x += step
        if len(labels) > room:
            self._pen.text((x - _DISC, y), "…", fill=INK, anchor="lm", font=letters)

    def dots(self, pixels: Sequence[tuple[float, float]], colour: str = BLUE) -> None:
        """Draw a dot at each of these pixels; many dots are smaller than few."""
        least, most = _RADII
        radius = min(max((_RIGHT - _LEFT) / len(pixels) * 0.3, least), most)
        for x, y in pixels:
            self._pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)

    def grid(self, heading: str) -> None:
        """Draw the heading, the numbers at both edges, and a line for each round value."""
        letters = font(_LETTERS)
        for value in self._up.ticks:
            y = self._y(value)
            self._pen.line([(_LEFT, y), (_RIGHT, y)], fill=GRID if value else EDGE, width=_FINER)
            self._pen.text((_LEFT - _GAP, y), f"{value:.4g}", fill=INK, anchor="rm", font=letters)
        for at in self._across.ticks:
            x = self._x(at)
            self._pen.line([(x, _BOTTOM), (x, _BOTTOM + _TICK)], fill=EDGE, width=_FINER)
            self._pen.text((x, _BOTTOM + _GAP), f"{at:g}", fill=INK, anchor="mt", font=letters)
        self._pen.line([(_LEFT, _TOP), (_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)], fill=EDGE, width=_FINER)
        self._pen.text((_RIGHT, _TOP / 2), heading, fill=INK, anchor="rm", font=letters)


def draw(schedule: Schedule, many: int) -> Image:
    """A schedule as an RGB picture, with a panel for each unit that it counts in.

    many: number of steps or frames. Several curves over the same unit are drawn beside their product.
    """
    from PIL import Image

    units = [unit for unit in UNITS if schedule.over(unit)] or ["steps"]
    picture = Image.new("RGB", (SIZE[0], SIZE[1] * len(units)), PAPER)
    for row, unit in enumerate(units):
        picture.paste(_panel(schedule.over(unit), unit, many), (0, SIZE[1] * row))
    return picture


def _panel(curves: tuple[Curve, ...], unit: str, many: int) -> Image:
    words, dotted = PANELS[unit]
    last = many - 1 if dotted else 1
    positions = np.linspace(0, last, _RIGHT - _LEFT + 1).tolist()
    parts = [_product([curve], positions, many) for curve in curves] if len(curves) > 1 else []
    product = _product(curves, positions, many)

    def draw_on(plane: Plane) -> None:
        plane.shade(plane.pixels(positions, product))
        plane.grid(f"{'product of factors' if parts else 'factor of the weight'}, {words} 0 to {last}")
        for part, colour in zip(parts, itertools.cycle(_PARTS), strict=False):
            plane.line(plane.pixels(positions, part), colour, _PART_WIDTH)
        plane.line(plane.pixels(positions, product), DIM_BLUE if dotted else BLUE, _LINE_WIDTH)
        if dotted:
            plane.dots(plane.pixels(range(many), _product(curves, range(many), many)))

    return panel(across(last, dotted), _up([product, *parts]), draw_on)


def panel(positions: Axis, values: Axis, draw_on: Callable[[Plane], None]) -> Image:
    """A picture of SIZE with a plane of these axes, on which `draw_on` draws."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (SIZE[0] * _FINER, SIZE[1] * _FINER), PAPER)
    draw_on(Plane(ImageDraw.Draw(picture), positions, values))
    return picture.reduce(_FINER)


def _product(curves: Sequence[Curve], positions: Iterable[float], many: int) -> list[float]:
    return [math.prod((curve.value(at, many) for curve in curves), start=1.0) for at in positions]


def across(last: int, whole: bool) -> Axis:
    """The axis of positions from 0; whole: whether only whole numbers are written."""
    positions = axis(0, last)
    return positions._replace(ticks=tuple(tick for tick in positions.ticks if not whole or tick == int(tick)))


def _up(curves: Sequence[Sequence[float]]) -> Axis:
    """The axis of values of all curves; 0 and 1 are always on it."""
    return axis(min(0.0, *map(min, curves)), max(1.0, *map(max, curves)))
