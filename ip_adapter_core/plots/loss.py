"""A picture of the losses of a training run, to look at while it runs and afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .axes import Axis, axis
from .drawing import BLUE, DIM_BLUE, EDGE, GRID, INK, PAPER, font

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SIZE = (640, 360)
_LEFT, _TOP, _RIGHT, _BOTTOM = 72, 32, 616, 320
_LETTERS = 16
_SMOOTHED_OVER = 0.05  # of the run


def draw(losses: Sequence[float], first: int = 1) -> Image:
    """The losses of steps first, first + 1, … and their running mean, with numbers at both axes, as an RGB picture."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", SIZE, PAPER)
    pen = ImageDraw.Draw(picture)
    values = np.asarray(losses, dtype=np.float64)
    steps = np.flatnonzero(np.isfinite(values))
    if len(steps):
        _plot(pen, steps + first, values[steps])
    return picture


def smooth(losses: Sequence[float] | np.ndarray) -> np.ndarray:
    """The running mean, exponential over a twentieth of the run; its beginning is corrected, so it is not near zero."""
    keep = 1 - 1 / max(1.0, len(losses) * _SMOOTHED_OVER)
    mean, weight, means = 0.0, 0.0, []
    for loss in losses:
        mean, weight = keep * mean + (1 - keep) * float(loss), keep * weight + 1 - keep
        means.append(mean / weight)
    return np.asarray(means)


def _plot(pen: ImageDraw, steps: np.ndarray, losses: np.ndarray) -> None:
    mean = smooth(losses)
    across = axis(float(steps[0]), float(steps[-1]))
    # Single outliers would press the rest of the curve to the floor.
    low, high = np.percentile(losses, (1, 99))
    up = axis(float(min(low, mean.min())), float(max(high, mean.max())))
    x, y = across.scale_to(_LEFT, _RIGHT), up.scale_to(_BOTTOM, _TOP)
    _write_axes(pen, across, up)
    for values, colour, width in ((losses, DIM_BLUE, 1), (mean, BLUE, 2)):
        heights = np.clip(y(values), _TOP, _BOTTOM)  # type: ignore[arg-type]
        points = list(zip(x(steps).tolist(), heights.tolist(), strict=True))  # type: ignore[arg-type,attr-defined]
        pen.line(points if len(points) > 1 else points * 2, fill=colour, width=width)
    pen.text((_RIGHT, _TOP - 8), f"loss {mean[-1]:.4g} at step {steps[-1]}", fill=INK, font=font(_LETTERS), anchor="rs")


def _write_axes(pen: ImageDraw, across: Axis, up: Axis) -> None:
    x, y = across.scale_to(_LEFT, _RIGHT), up.scale_to(_BOTTOM, _TOP)
    for loss in up.ticks:
        pen.line([(_LEFT, y(loss)), (_RIGHT, y(loss))], fill=GRID)
        pen.text((_LEFT - 8, y(loss)), f"{loss:.4g}", fill=INK, font=font(_LETTERS), anchor="rm")
    for step in (tick for tick in across.ticks if tick == int(tick)):
        pen.line([(x(step), _BOTTOM), (x(step), _BOTTOM + 4)], fill=EDGE)
        pen.text((x(step), _BOTTOM + 8), f"{step:g}", fill=INK, font=font(_LETTERS), anchor="mt")
    pen.line([(_LEFT, _TOP), (_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)], fill=EDGE)
