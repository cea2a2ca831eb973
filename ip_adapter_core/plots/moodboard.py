"""A picture of a moodboard: the references with what they are there for, the layers that each acts on, and the mix."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from ..settings.layer_weights import Bar
from ..settings.span import WHOLE, Span
from .axes import Axis, ToPixels
from .drawing import FAINT, INK, PAPER, TRACK, font, thumbnail
from .layer_bars import Column, columns
from .transition import colour

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

WIDTH, ROW, TOGETHER = 700, 120, 250  # of the picture, of a reference, of the panel below all of them
SIDE = 96  # of a thumbnail
_MARGIN, _LEFT, _RIGHT = 12, 136, 688  # edges of the thumbnails, and of the bars
_BAND = 8  # the reference's colour, beside its thumbnail
_TITLE, _BARS = 26, (50, 108)  # of a row: the middle of its words, the top and bottom of its bars
_WHEN, _PART = (346, 526), (40, 45)  # of a row: edges of the words for its time, top and bottom of the bar below them
_TIMES = {"percent": "from", "steps": "steps"}  # the word for a time in this unit
_SUM, _NAMES = (54, 210), 230  # of the panel below


class Entry(NamedTuple):
    """A reference on the board.

    picture: as the encoder saw it, (height, width, 3), 0..1.
    role: what it is there for.
    strength: as the user set it.
    weight: λ that it is applied with.
    bars: what each layer gets of λ, in running order; the same layers for all references.
    span: when it acts in the sampling; it is shown where that is not always.
    """

    picture: Tensor
    role: str
    strength: float
    weight: float
    bars: tuple[Bar, ...]
    span: Span = WHOLE

    def shares(self) -> list[float]:
        """What each layer adds: above zero towards the reference, below zero away from it."""
        return [self.weight * (bar.share.positive - bar.share.to_negative) for bar in self.bars]


def draw(entries: Sequence[Entry]) -> Image:
    """The references, one above the other, and below them all together, as an RGB picture."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (WIDTH, ROW * len(entries) + TOGETHER), PAPER)
    pen = ImageDraw.Draw(picture)
    placed = columns(entries[0].bars, (_LEFT, _RIGHT))
    stacks = [[entry.shares()] for entry in entries]
    for number, entry in enumerate(entries):
        top = ROW * number
        picture.paste(thumbnail(entry.picture, SIDE), (_MARGIN + _BAND, top + _MARGIN))
        pen.rectangle((_MARGIN, top + _MARGIN, _MARGIN + _BAND - 1, top + _MARGIN + SIDE - 1), fill=colour(number))
        pen.text((_LEFT, top + _TITLE), f"{number + 1}  {entry.role}", INK, font(26), "lm")
        pen.text((_RIGHT, top + _TITLE), f"strength {entry.strength:.3g}", FAINT, font(20), "rm")
        _draw_time(pen, entry.span, top, colour(number))
        y = _heights(stacks).scale_to(top + _BARS[1], top + _BARS[0])
        _draw_stacks(pen, placed, {number: entry.shares()}, y)
    _draw_together(pen, placed, [entry.shares() for entry in entries], ROW * len(entries))
    return picture


def _draw_time(pen: ImageDraw, span: Span, top: int, fill: str) -> None:
    """Write when a reference acts; a part of the noise schedule is also drawn, as that part of a bar."""
    if span.whole:
        return
    left, right = _WHEN
    digits = 3 if span.unit == "percent" else 1
    start, end = (f"{round(number, digits):g}" for number in (span.start, span.end))
    pen.text((left, top + _TITLE), f"{_TIMES[span.unit]} {start} to {end}", FAINT, font(20), "lm")
    if span.unit == "percent":
        pen.rectangle((left, top + _PART[0], right - 1, top + _PART[1] - 1), fill=TRACK)
        first, behind = (left + round((right - left) * share) for share in (span.start, span.end))
        if behind > first:
            pen.rectangle((first, top + _PART[0], behind - 1, top + _PART[1] - 1), fill=fill)


def _draw_together(pen: ImageDraw, placed: Sequence[Column], shares: list[list[float]], top: int) -> None:
    pen.text((_MARGIN, top + _TITLE), "together", INK, font(26), "lm")
    pen.text((_RIGHT, top + _TITLE), "above the line: towards, below: away", FAINT, font(20), "rm")
    y = _heights([shares]).scale_to(top + _SUM[1], top + _SUM[0])
    _draw_stacks(pen, placed, dict(enumerate(shares)), y)
    for stage, run in groupby(placed, lambda column: column.bar.layer.stage):
        inside = list(run)
        middle = (inside[0].left + inside[-1].right) / 2
        pen.text((middle, top + _NAMES), stage, FAINT, font(20), "mm")


def _heights(stacks: Sequence[Sequence[Sequence[float]]]) -> Axis:
    """Room for the highest and the lowest of these stacks, each of several numbers for each layer."""
    ends = [end for stack in stacks for layer in zip(*stack, strict=True) for end in _ends(layer)]
    least, most = min(0.0, *ends), max(0.0, *ends)
    return Axis(least, most if most > least else 1.0, ())


def _ends(numbers: Sequence[float]) -> tuple[float, float]:
    """How far numbers reach down and up if they are stacked from zero."""
    return sum(min(number, 0.0) for number in numbers), sum(max(number, 0.0) for number in numbers)


def _draw_stacks(pen: ImageDraw, placed: Sequence[Column], shares: dict[int, list[float]], y: ToPixels) -> None:
    """Draw what references, by their number, add to each layer, one upon the other."""
    for column, *numbers in zip(placed, *shares.values(), strict=True):
        reached = [0.0, 0.0]
        for reference, number in zip(shares, numbers, strict=True):
            start = reached[number > 0]
            reached[number > 0] += number
            top, bottom = sorted((round(y(start)), round(y(start + number))))
            if number and bottom > top:
                pen.rectangle((column.left, top, column.right - 1, bottom - 1), fill=colour(reference))
    pen.line([(_LEFT, y(0)), (_RIGHT, y(0))], fill=INK, width=2)
