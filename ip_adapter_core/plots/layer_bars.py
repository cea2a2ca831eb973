"""A picture of layer weights: a bar for every layer, in the order in which a model runs them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

from ..layers.cross_stream import CROSS
from ..layers.double_stream import DOUBLE, SINGLE
from ..layers.families import CONFIGS
from ..layers.joint_stream import JOINT
from ..layers.layout import Layer, layers
from ..settings.layer_weights import Bar, LayerWeights
from .axes import Axis, ToPixels, axis
from .drawing import (
    BLUE,
    COMPOSITION,
    FAINT,
    GREEN,
    GRID,
    INK,
    ORANGE,
    PAPER,
    PINK,
    STYLE,
    TEAL,
    TRACK,
    VIOLET,
    YELLOW,
    font,
)

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SIZE = (700, 360)  # of each panel; on a node it is shown at about half of that, hence the large letters
COLOURS = {"input": BLUE, "middle": VIOLET, "output": ORANGE, DOUBLE: TEAL, SINGLE: GREEN, JOINT: YELLOW, CROSS: PINK}
_MARKS = {"style": (STYLE, ("style", "S")), "composition": (COMPOSITION, ("composition", "comp.", "C"))}
_LEFT, _TOP, _RIGHT, _BOTTOM = 66, 76, 688, 264
_TITLE, _LEGEND, _MARKS_AT, _NUMBERS, _STAGES = 24, 56, 285, 313, 338
_BETWEEN_LAYERS, _BETWEEN_BLOCKS, _BETWEEN_STAGES = 1, 8, 22
_HATCH = 6

EXAMPLES: dict[str, tuple[Layer, ...]] = {name: layers(CONFIGS[name]) for name in ("SD1.5", "SDXL")}
"""Models to show weights on when no model is connected."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom pixels of a rectangle, all of them included."""


class Column(NamedTuple):
    """A bar and its place.

    bar: the layer and its weight.
    left, right: pixels that it covers, the right one excluded.
    """

    bar: Bar
    left: int
    right: int


def draw(weights: LayerWeights, models: dict[str, tuple[Layer, ...]]) -> Image:
    """The weights on models by name, a panel for each, one above the other, as an RGB picture."""
    from PIL import Image

    picture = Image.new("RGB", (SIZE[0], SIZE[1] * len(models)), PAPER)
    for row, (name, model) in enumerate(models.items()):
        picture.paste(panel(weights, name, model), (0, SIZE[1] * row))
    return picture


def panel(weights: LayerWeights, name: str, model: tuple[Layer, ...]) -> Image:
    """The weights on one model, or the reason why they do not fit it."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", SIZE, PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((_RIGHT, _TITLE), name, FAINT, font(20), "rm")
    _write(pen, weights.name, (14, _TITLE, _RIGHT - 20 - pen.textlength(name, font(20))), 26)
    try:
        bars = weights.bars(model)
    except ValueError as reason:
        _explain(pen, str(reason))
    else:
        _plot(pen, bars)
    return picture


def columns(bars: Sequence[Bar], edges: tuple[int, int] = (_LEFT, _RIGHT)) -> list[Column]:
    """Where the bars stand between two edges: layers of a block side by side, blocks apart, stages further apart."""
    gaps = [0, *(_gap(*pair) for pair in pairwise(bars))]
    room = edges[1] - edges[0] - 16 - sum(gaps)
    width = min(max(room // len(bars), 1), 48)
    left = (sum(edges) - width * len(bars) - sum(gaps)) // 2
    placed = []
    for bar, gap in zip(bars, gaps, strict=True):
        left += gap
        placed.append(Column(bar, left, left + width))
        left += width
    return placed


def _gap(bar: Bar, following: Bar) -> int:
    if bar.layer.stage != following.layer.stage:
        return _BETWEEN_STAGES
    return _BETWEEN_LAYERS if bar.layer.block == following.layer.block else _BETWEEN_BLOCKS


def _plot(pen: ImageDraw, bars: Sequence[Bar]) -> None:
    up = _axis(bars)
    y = up.scale_to(_BOTTOM, _TOP)
    placed = columns(bars)
    for column in placed:
        pen.rectangle((column.left, _TOP, column.right - 1, _BOTTOM), fill=TRACK)
    _write_axis(pen, up, y)
    for column in placed:
        _draw_bar(pen, column, y)
    pen.line([(_LEFT, y(0)), (_RIGHT, y(0))], fill=INK, width=2)
    _mark_roles(pen, placed)
    _name_blocks(pen, placed)
    if any(bar.share.to_negative for bar in bars):
        _explain_hatch(pen)


def _axis(bars: Iterable[Bar]) -> Axis:
    """An axis from the round number below the lowest weight to the one above the highest; zero is always on it."""
    numbers = [number for bar in bars for number in (bar.share.positive, -bar.share.to_negative)]
    least, most = min(0.0, *numbers), max(0.0, *numbers)
    if least == most:
        most = 1.0
    first, second, *_ = axis(least, most).ticks
    step = second - first
    return axis(step * math.floor(least / step + 1e-6), step * math.ceil(most / step - 1e-6))


def _write_axis(pen: ImageDraw, up: Axis, y: ToPixels) -> None:
    for weight in up.ticks:
        pen.line([(_LEFT, y(weight)), (_RIGHT, y(weight))], fill=GRID)
        pen.text((_LEFT - 10, y(weight)), f"{weight:.3g}", INK, font(20), "rm")


def _draw_bar(pen: ImageDraw, column: Column, y: ToPixels) -> None:
    """Draw a layer's weight; if it has both kinds, they share the width."""
    share, colour = column.bar.share, COLOURS[column.bar.layer.stage]
    middle = (column.left + column.right) // 2
    if share.positive:
        pen.rectangle(_box(column.left, middle if share.to_negative else column.right, y, share.positive), fill=colour)
    if share.to_negative:
        _hatch(pen, _box(middle if share.positive else column.left, column.right, y, -share.to_negative), colour)


def _box(left: int, right: int, y: ToPixels, weight: float) -> Box:
    top, bottom = sorted((round(y(0)), round(y(weight))))
    return left, top, right - 1, bottom


def _hatch(pen: ImageDraw, box: Box, colour: str) -> None:
    from PIL import Image, ImageDraw

    left, top, right, bottom = box
    width, height = right - left + 1, bottom - top + 1
    stripes = Image.new("1", (width, height))
    hatch = ImageDraw.Draw(stripes)
    for start in range(-height, width, _HATCH):
        hatch.line([(start, height), (start + height, 0)], fill=1, width=2)
    pen.bitmap((left, top), stripes, fill=colour)
    pen.rectangle(box, outline=colour)


def _mark_roles(pen: ImageDraw, placed: Sequence[Column]) -> None:
    shortened = {}
    for (role, _), run in groupby(placed, lambda column: (column.bar.role, column.bar.layer.stage)):
        if role in _MARKS:
            left, right = _ends(run)
            words = _MARKS[role][1]
            fitting = [word for word in words if pen.textlength(word, font(18)) <= right - left]
            written = (fitting or words[-1:])[0]
            _mark(pen, role, written, (left, right, _MARKS_AT))
            if written != role:
                shortened[role] = written
    _explain_marks(pen, shortened)


def _mark(pen: ImageDraw, role: str, word: str, place: tuple[int, int, int]) -> None:
    """Draw a word in the colours of a role; place: left, right and middle height in pixels."""
    (left, right, height), (colours, _) = place, _MARKS[role]
    pen.rounded_rectangle((left - 3, height - 12, right + 2, height + 12), 5, fill=colours.paper)
    pen.text(((left + right) / 2, height), word, colours.ink, font(18), "mm")


def _explain_marks(pen: ImageDraw, shortened: Mapping[str, str]) -> None:
    """Write in the legend, from the right, which role each short form stands for."""
    right = _RIGHT
    for role, word in shortened.items():
        pen.text((right, _LEGEND), role, FAINT, font(18), "rm")
        right -= round(pen.textlength(role, font(18))) + 12
        left = right - round(pen.textlength(word, font(18))) - 8
        _mark(pen, role, word, (left, right, _LEGEND))
        right = left - 20


def _name_blocks(pen: ImageDraw, placed: Sequence[Column]) -> None:
    for stage, blocks in groupby(placed, lambda column: column.bar.layer.stage):
        inside = list(blocks)
        for block, run in groupby(inside, lambda column: column.bar.layer.block):
            pen.text((sum(_ends(run)) / 2, _NUMBERS), str(block), FAINT, font(18), "mm")
        pen.text((sum(_ends(inside)) / 2, _STAGES), stage, COLOURS[stage], font(20), "mm")


def _ends(run: Iterable[Column]) -> tuple[int, int]:
    inside = list(run)
    return inside[0].left, inside[-1].right


def _explain_hatch(pen: ImageDraw) -> None:
    _hatch(pen, (_LEFT, _LEGEND - 7, _LEFT + 22, _LEGEND + 7), FAINT)
    pen.text((_LEFT + 32, _LEGEND), "swapped: pushes away", FAINT, font(18), "lm")


def _explain(pen: ImageDraw, reason: str) -> None:
    for row, line in enumerate(_lines(pen, reason, _RIGHT - 14)):
        pen.text((14, _TOP + 8 + 28 * row), line, INK, font(20), "lm")


def _lines(pen: ImageDraw, text: str, width: float) -> Iterator[str]:
    """The words of a text in lines of at most this width, unless one word is wider."""
    line = ""
    for word in text.split():
        if line and pen.textlength(f"{line} {word}", font(20)) > width:
            yield line
            line = ""
        line = f"{line} {word}".strip()
    yield line


def _write(pen: ImageDraw, text: str, edges: tuple[float, float, float], size: int) -> None:
    """Write text in one line; if it is too long, in smaller letters, and then cut at the right.

    edges: left, height and right in pixels.
    """
    left, height, right = edges
    fitting = (size for size in range(size, 15, -1) if left + pen.textlength(text, font(size)) <= right)
    chosen = font(next(fitting, 16))
    while left + pen.textlength(text, chosen) > right and len(text) > 2:
        text = f"{text[:-2]}…"
    pen.text((left, height), text, INK, chosen, "lm")
