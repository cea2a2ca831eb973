"""When an image prompt acts: from where to where in the sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

UNITS = ("percent", "steps")


class Reach(Protocol):
    """When a prompt acts in one run."""

    def holds(self, step: int, sigma: float) -> bool:
        """Whether it acts in this step, from 0, at this noise level."""


class Levels(NamedTuple):
    """Noise levels at which a prompt acts, both ends included."""

    highest: float
    lowest: float

    def holds(self, step: int, sigma: float) -> bool:
        """By the noise level alone."""
        return self.lowest <= sigma <= self.highest


class Steps(NamedTuple):
    """Steps in which a prompt acts; the end is left out, and a part of a step is none."""

    start: float
    end: float

    def holds(self, step: int, sigma: float) -> bool:
        """By the step alone, whichever way noise levels go."""
        return math.ceil(self.start) <= step < math.ceil(self.end)


class Span(NamedTuple):
    """Start and end, as fractions of the noise schedule (percent 0..1) or as step numbers (from 0, end excluded)."""

    start: float = 0.0
    end: float = 1.0
    unit: str = "percent"

    def check(self) -> Span:
        """This span, or ValueError when it cannot be meant."""
        if self.unit not in UNITS:
            raise ValueError(f"The unit of start and end is {self.unit!r}; it must be one of {', '.join(UNITS)}.")
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise ValueError(f"Start {self.start} and end {self.end} must be finite numbers.")
        if self.start > self.end:
            raise ValueError(f"Start {self.start:g} is after end {self.end:g}; set start to at most end.")
        if self.unit == "percent" and not (self.start >= 0 and self.end <= 1):
            raise ValueError(
                f"Start {self.start:g} and end {self.end:g} must lie in 0..1, or choose steps as their unit."
            )
        return self

    @property
    def whole(self) -> bool:
        """Whether the prompt acts in every step."""
        return self.unit == "percent" and self.start <= 0 and self.end >= 1

    def reach(self, percent_to_sigma: Callable[[float], float]) -> Reach:
        """When it is in a run of a model, whose own percent_to_sigma says what percentages mean."""
        if self.unit == "percent":
            return Levels(percent_to_sigma(self.start), percent_to_sigma(self.end))
        return Steps(self.start, self.end)


WHOLE = Span()
