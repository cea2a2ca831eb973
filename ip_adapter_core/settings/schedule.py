"""How λ changes over the sampling and over the frames of an animation: curves, and schedules made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .shapes import SHAPES, UNITS


class SamplingStep(NamedTuple):
    """Where a model call is in the sampling.

    percent: of the noise schedule, 0..1, as ComfyUI's start_percent and end_percent count it.
    step: number of the step, from 0.
    steps: number of all steps.
    """

    percent: float
    step: int
    steps: int


TIME = ("percent", "steps")
FRAMES = "frames"


@dataclass(frozen=True)
class Curve:
    """One shape over one unit, as the user sets it; each shape uses the fields that it needs.

    shape: a row of SHAPES.
    unit: a row of UNITS.
    start: value at the start.
    end: value at the end.
    n: number of whole units, for "first n".
    points: text with positions and values, for "points".
    seed: for "random".
    """

    shape: str
    unit: str = "steps"
    start: float = 1.0
    end: float = 0.0
    n: int = 0
    points: str = ""
    seed: int = 0

    def check(self) -> Curve:
        """This curve. Raises ValueError when it is not valid."""
        for name, value, options in (("shape", self.shape, SHAPES), ("unit", self.unit, UNITS)):
            if value not in options:
                raise ValueError(f"The {name} is {value!r}; it must be one of {', '.join(options)}.")
        for name, number in (("start_value", self.start), ("end_value", self.end)):
            if not math.isfinite(number):
                raise ValueError(f"The {name} is {number}; it must be a finite number such as 0.8.")
        if self.n < 0:
            raise ValueError(f"n is {self.n}; it must be 0 or more.")
        self.value_bounds()  # raises ValueError for points that cannot be read
        return self

    def value(self, at: float, many: int) -> float:
        """The factor of λ at a position, 0..1 or a number from 0; many: number of steps or frames."""
        return SHAPES[self.shape].value(self, UNITS[self.unit].position(at, many))

    def value_bounds(self) -> tuple[float, ...]:
        """Values of which the least and the greatest bound all values of the curve."""
        return SHAPES[self.shape].value_bounds(self)


@dataclass(frozen=True)
class Schedule:
    """The factor of λ in each step and in each frame.

    curves: those of a step, and those of a frame, are multiplied.
    """

    curves: tuple[Curve, ...] = ()

    def __mul__(self, other: Schedule) -> Schedule:
        """The product of two schedules."""
        return Schedule(self.curves + other.curves)

    def strength(self, now: SamplingStep) -> float:
        """The factor of λ in this step; 1 when only frames are scheduled."""
        return self._product({"percent": now.percent, "steps": now.step}, now.steps)

    def frame(self, frame: int, frames: int) -> float:
        """The factor of λ in this frame, from 0, of `frames` frames; 1 when only time is scheduled."""
        return self._product({FRAMES: frame}, frames)

    @property
    def over_time(self) -> bool:
        """Whether `strength` can be different from 1."""
        return self._acts(*TIME)

    @property
    def over_frames(self) -> bool:
        """Whether `frame` can be different from 1."""
        return self._acts(FRAMES)

    def over(self, *units: str) -> tuple[Curve, ...]:
        """The curves that count in these units."""
        return tuple(curve for curve in self.curves if curve.unit in units)

    def _acts(self, *units: str) -> bool:
        return any(value != 1 for curve in self.over(*units) for value in curve.value_bounds())

    def _product(self, positions: Mapping[str, float], many: int) -> float:
        return math.prod((curve.value(positions[curve.unit], many) for curve in self.over(*positions)), start=1.0)


CONSTANT = Schedule()
