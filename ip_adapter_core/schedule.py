"""When an image prompt acts: from where to where in the sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

UNITS = ("percent", "steps")


class SigmaRange(NamedTuple):
    """Noise levels at which a prompt acts: `lowest < sigma <= highest`, `lowest` itself counting when inclusive."""

    highest: float
    lowest: float
    inclusive: bool

    def __contains__(self, sigma: object) -> bool:
        if not isinstance(sigma, float):
            return False
        return sigma <= self.highest and (sigma >= self.lowest if self.inclusive else sigma > self.lowest)


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

    def sigmas(self, percent_to_sigma: Callable[[float], float], schedule: Sequence[float]) -> SigmaRange:
        """The noise levels this span means for one sampling run.

        percent_to_sigma: the model's own; schedule: the run's sigmas, one per step and the final one.
        """
        if self.unit == "percent":
            return SigmaRange(percent_to_sigma(self.start), percent_to_sigma(self.end), inclusive=True)
        return SigmaRange(_sigma(schedule, self.start), _sigma(schedule, self.end), inclusive=False)


WHOLE = Span()


def _sigma(schedule: Sequence[float], step: float) -> float:
    """Noise level at which a step begins; past the last step, one below every level."""
    index = math.ceil(step)
    return schedule[index] if index < len(schedule) - 1 else -1.0
