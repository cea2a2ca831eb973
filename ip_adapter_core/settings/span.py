"""When an image prompt acts: the start and the end in the sampling, as fractions, steps and noise levels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..text.checks import check_choice

TIME_UNITS = ("percent", "steps")

_NEAR = 1e-4  # of the noise schedule: a tenth of a training timestep


class Reach(Protocol):
    """When a prompt acts in one run of the sampler."""

    def holds(self, step: int, sigma: float) -> bool:
        """Whether it acts in this step (from 0) at this noise level."""


class Levels(NamedTuple):
    """The noise levels at which a prompt acts, both ends included.

    highest: sigma of the start.
    lowest: sigma of the end.
    """

    highest: float
    lowest: float

    def holds(self, step: int, sigma: float) -> bool:
        """Whether it acts at this noise level; the step does not count."""
        return self.lowest <= sigma <= self.highest


class Steps(NamedTuple):
    """The steps in which a prompt acts; fractions are rounded up.

    start: the first step, from 0.
    end: the step before which it ends.
    """

    start: float
    end: float

    def holds(self, step: int, sigma: float) -> bool:
        """Whether it acts in this step; the noise level does not count."""
        return math.ceil(self.start) <= step < math.ceil(self.end)


class Span(NamedTuple):
    """The part of the sampling in which a prompt acts.

    start: a fraction of the noise schedule, 0..1, or a step number, from 0.
    end: as start; this step is excluded.
    unit: "percent" for fractions, "steps" for step numbers.
    """

    start: float = 0.0
    end: float = 1.0
    unit: str = "percent"

    def check(self) -> Span:
        """This span. Raises ValueError when it is not valid."""
        check_choice("unit", self.unit, TIME_UNITS)
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise ValueError(f"Set start and end to finite numbers; found {self.start} and {self.end}.")
        if self.start > self.end:
            raise ValueError(f"Set start to at most end; start {self.start:g} is after end {self.end:g}.")
        if self.unit == "percent" and not (self.start >= 0 and self.end <= 1):
            raise ValueError(
                f"Set start and end to 0..1, or choose steps as their unit; found {self.start:g} and {self.end:g}."
            )
        return self

    @property
    def whole(self) -> bool:
        """Whether the prompt acts in every step."""
        return self.unit == "percent" and self.start <= 0 and self.end >= 1

    @property
    def empty(self) -> bool:
        """Whether it holds no step of any sampling."""
        if self.unit == "percent":
            return self.start >= self.end
        return math.ceil(self.end) <= max(math.ceil(self.start), 0)

    def reach(self, percent_to_sigma: Callable[[float], float]) -> Reach:
        """When the prompt acts in a run of a model; percent_to_sigma: of that model, fraction -> noise level."""
        if self.unit == "percent":
            return Levels(percent_to_sigma(self.start), percent_to_sigma(self.end))
        return Steps(self.start, self.end)


WHOLE = Span()


def percent_at(sigma: float, percent_to_sigma: Callable[[float], float]) -> float:
    """The position of a noise level in the noise schedule, 0..1 to 1e-4: the inverse of a model's percent_to_sigma.

    Levels above the schedule give 0, levels below it 1. It is found by bisection, because models have no inverse.
    """
    low, high = 0.0, 1.0
    while high - low > _NEAR:
        middle = (low + high) / 2
        low, high = (middle, high) if percent_to_sigma(middle) > sigma else (low, middle)
    return low if low == 0 else high
