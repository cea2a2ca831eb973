"""How λ changes over the sampling and over the frames of an animation: schedules, which are made of curves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .curves import Curve
from .span import TIME_UNITS


class SamplingStep(NamedTuple):
    """Where a model call is in the sampling.

    percent: of the noise schedule, 0..1, as ComfyUI's start_percent and end_percent count it.
    step: number of the step, from 0.
    steps: number of all steps.
    """

    percent: float
    step: int
    steps: int


FRAMES = "frames"


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
        return self._acts(*TIME_UNITS)

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
