"""The icon and the banner that the registry shows, docs/images/icon.png and banner.png: `make emblem` draws them.

A picture stands where a prompt's words stand, and what comes of it has its colours. All is drawn at several times its
size.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
ICON, BANNER = (400, 400), (1260, 540)  # square, and 21:9, as the registry wants them
FINE = 4  # pixels that become one

NIGHT, PANEL, LINE, PAPER, INK = "#161b2b", "#242c42", "#3d4868", "#f7f4ec", "#9fb0d6"
SKY, SUN, DOTS, GRASS = "#7cc4f0", "#ff8f2e", "#b85a10", "#4faf6a"

Point = tuple[float, float]
Outline = Callable[[Point, float], list[Point]]


class Sheet:
    """A picture to draw on, in pixels of the finished one."""

    def __init__(self, size: tuple[int, int], colour: str) -> None:
        self.image = Image.new("RGB", (size[0] * FINE, size[1] * FINE), colour)
        self._draw = ImageDraw.Draw(self.image)

    def box(self, x: float, y: float, width: float, height: float, colour: str, round_: float, edge: str = "") -> None:
        """A rectangle with round corners, perhaps with an edge."""
        area = _fine([(x, y), (x + width, y + height)])
        self._draw.rounded_rectangle(area, round_ * FINE, colour, edge or None, 3 * FINE if edge else 1)

    def shape(self, points: Sequence[Point], colour: str) -> None:
        """A filled outline."""
        self._draw.polygon(_fine(points), colour)

    def dot(self, centre: Point, radius: float, colour: str) -> None:
        """A filled circle."""
        self._draw.ellipse(
            _fine([(centre[0] - radius, centre[1] - radius), (centre[0] + radius, centre[1] + radius)]), colour
        )

    def line(self, points: Sequence[Point], colour: str, width: float) -> None:
        """A line with round ends."""
        self._draw.line(_fine(points), colour, round(width * FINE), "curve")
        for end in (points[0], points[-1]):
            self.dot(end, width / 2, colour)

    def words(self, x: float, y: float, text: str, size: int, colour: str) -> None:
        """A text whose upper left corner is at a point."""
        self._draw.text((x * FINE, y * FINE), text, colour, ImageFont.load_default(size * FINE))

    def finished(self) -> Image.Image:
        """The picture at its own size."""
        return self.image.reduce(FINE)


def _fine(points: Iterable[Point]) -> list[Point]:
    return [(x * FINE, y * FINE) for x, y in points]


def star(centre: Point, radius: float) -> list[Point]:
    """Five points up."""
    lengths = (radius, 0.44 * radius) * 5
    return [_around(centre, length, math.pi * step / 5 - math.pi / 2) for step, length in enumerate(lengths)]


def circle(centre: Point, radius: float) -> list[Point]:
    """A circle, a little smaller than a star seems."""
    return [_around(centre, 0.86 * radius, math.tau * step / 90) for step in range(90)]


def heart(centre: Point, radius: float) -> list[Point]:
    """A heart (the curve of 16 sin³)."""
    turns = [math.tau * step / 120 for step in range(120)]
    rise = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
    unit = radius / 17
    return [
        (centre[0] + unit * 16 * math.sin(t) ** 3, centre[1] - unit * up) for t, up in zip(turns, rise, strict=True)
    ]


def _around(centre: Point, radius: float, turn: float) -> Point:
    return centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)


def card(sheet: Sheet, x: float, y: float, side: float, outline: Outline) -> None:
    """A framed picture of a dotted orange thing over grass, under the sky."""
    edge = side * 0.06
    sheet.box(x - edge, y - edge, side + 2 * edge, side + 2 * edge, PAPER, edge * 1.5)
    sheet.box(x, y, side, side, SKY, edge * 0.5)
    sheet.box(x, y + side * 0.78, side, side * 0.22, GRASS, edge * 0.5)
    centre = (x + side / 2, y + side * 0.47)
    sheet.shape(outline(centre, side * 0.38), SUN)
    for across, down in ((-0.09, -0.02), (0.09, -0.02), (0, -0.15), (0, 0.1), (0, -0.02)):
        sheet.dot((centre[0] + across * side, centre[1] + down * side), side * 0.022, DOTS)


def icon() -> Image.Image:
    """A prompt's box: a picture first, then lines of words and the cursor."""
    sheet = Sheet(ICON, NIGHT)
    sheet.box(32, 32, 336, 336, PANEL, 44, LINE)
    card(sheet, 98, 74, 204, star)
    sheet.line([(78, 326), (250, 326)], INK, 14)
    sheet.line([(286, 310), (286, 342)], SUN, 10)
    return sheet.finished()


def banner() -> Image.Image:
    """The prompt's box, and threads from it to three pictures that have its colours."""
    sheet = Sheet(BANNER, NIGHT)
    for number, outline in enumerate((circle, star, heart)):
        y = 50 + number * 156
        thread(sheet, (482, 300), (1000, y + 64))
        card(sheet, 1016, y, 128, outline)
    sheet.box(70, 168, 412, 264, PANEL, 30, LINE)
    card(sheet, 106, 200, 168, star)
    for down, right in ((224, 440), (262, 418), (300, 436), (338, 376)):
        sheet.line([(312, down), (right, down)], INK, 10)
    sheet.line([(402, 325), (402, 351)], SUN, 7)
    sheet.dot((482, 300), 11, SUN)
    sheet.words(70, 66, "IP-Adapter", 62, PAPER)
    sheet.words(70, 456, "pictures as prompts", 32, INK)
    return sheet.finished()


def thread(sheet: Sheet, start: Point, end: Point) -> None:
    """A link as between two nodes of a graph."""
    middle = (start[0] + end[0]) / 2
    steps = [step / 60 for step in range(61)]
    weights = [((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t * t, t**3) for t in steps]
    across, down = (start[0], middle, middle, end[0]), (start[1], start[1], end[1], end[1])
    sheet.line([(_dot(weight, across), _dot(weight, down)) for weight in weights], SUN, 6)
    for place in (start, end):
        sheet.dot(place, 11, SUN)


def _dot(weights: Sequence[float], values: Sequence[float]) -> float:
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


PICTURES: dict[str, Callable[[], Image.Image]] = {"icon.png": icon, "banner.png": banner}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        draw().save(IMAGES / name, optimize=True)
        print(f"docs/images/{name}")
