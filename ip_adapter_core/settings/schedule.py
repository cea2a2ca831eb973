"""How λ changes over the sampling and over the frames of an animation: shapes, and schedules made of them."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ..text.number_lists import Pair, Wanted, pairs

_NEAR = 1e-4  # of the noise schedule: a tenth of a training timestep


class SamplingStep(NamedTuple):
    """Where a model call is in the sampling: percent 0..1 of the noise schedule (as start/end percent count it), and
    step (from 0) of so many steps."""

    percent: float
    step: int
    steps: int


class Position(NamedTuple):
    """Where on its unit a course is: at which number, the last one there is, and how many whole units lie before."""

    at: float
    last: float
    whole: int

    @property
    def share(self) -> float:
        """How much of the course is done, 0..1; nothing where there is only one position."""
        return min(max(self.at / self.last, 0.0), 1.0) if self.last > 0 else 0.0


class Unit(NamedTuple):
    """What a course counts: the position that a number is where there are so many, and the greatest number possible."""

    position: Callable[[float, int], Position]
    most: float


def _of_noise(at: float, _: int) -> Position:
    """Whole units are hundredths here, so that the first n of them mean something."""
    return Position(at, 1.0, min(int(round(at * 100, 6)), 99))


def _of_many(at: float, many: int) -> Position:
    return Position(at, many - 1, int(at))


UNITS: dict[str, Unit] = {
    "percent": Unit(_of_noise, 1.0),
    "steps": Unit(_of_many, math.inf),
    "frames": Unit(_of_many, math.inf),
}
TIME = ("percent", "steps")
FRAMES = "frames"


@dataclass(frozen=True)
class Curve:
    """One shape over one unit, as the user says it; each shape reads the numbers it needs.

    start, end: values; n: of whole units, for first n; points: text, for points; seed: for random.
    """

    shape: str
    unit: str = "steps"
    start: float = 1.0
    end: float = 0.0
    n: int = 0
    points: str = ""
    seed: int = 0

    def check(self) -> Curve:
        """This course, or ValueError when it cannot be meant."""
        for name, value, known in (("shape", self.shape, SHAPES), ("unit", self.unit, UNITS)):
            if value not in known:
                raise ValueError(f"The {name} is {value!r}; it must be one of {', '.join(known)}.")
        for name, number in (("start_value", self.start), ("end_value", self.end)):
            if not math.isfinite(number):
                raise ValueError(f"The {name} is {number}; it must be a finite number such as 0.8.")
        if self.n < 0:
            raise ValueError(f"n is {self.n}; it must be 0 or more.")
        self.value_bounds()  # reads the points, where they are used
        return self

    def value(self, at: float, many: int) -> float:
        """What λ is multiplied with at a position (0..1, or a number from 0) where there are so many."""
        return SHAPES[self.shape].value(self, UNITS[self.unit].position(at, many))

    def value_bounds(self) -> tuple[float, ...]:
        """Values among which all its values lie."""
        return SHAPES[self.shape].value_bounds(self)


@dataclass(frozen=True)
class Schedule:
    """What λ is multiplied with in each step and in each frame: the product of its courses."""

    curves: tuple[Curve, ...] = ()

    def __mul__(self, other: Schedule) -> Schedule:
        """Both at once."""
        return Schedule(self.curves + other.curves)

    def strength(self, moment: SamplingStep) -> float:
        """What λ is multiplied with at this moment; 1 where only frames are scheduled."""
        return self._product({"percent": moment.percent, "steps": moment.step}, moment.steps)

    def frame(self, frame: int, frames: int) -> float:
        """What λ is multiplied with in this frame (from 0) of so many; 1 where only time is scheduled."""
        return self._product({FRAMES: frame}, frames)

    @property
    def over_time(self) -> bool:
        """Whether a course over time can be anything but 1, and with it `strength`."""
        return self._acts(*TIME)

    @property
    def over_frames(self) -> bool:
        """Whether a course over frames can be anything but 1, and with it `frame`."""
        return self._acts(FRAMES)

    def over(self, *units: str) -> tuple[Curve, ...]:
        """The courses that count in these units."""
        return tuple(curve for curve in self.curves if curve.unit in units)

    def _acts(self, *units: str) -> bool:
        return any(value != 1 for curve in self.over(*units) for value in curve.value_bounds())

    def _product(self, positions: Mapping[str, float], many: int) -> float:
        return math.prod((curve.value(positions[curve.unit], many) for curve in self.over(*positions)), start=1.0)


CONSTANT = Schedule()


class Point(NamedTuple):
    """A value at a position of the unit."""

    at: float
    value: float


@lru_cache(maxsize=16)
def points(text: str, unit: str) -> tuple[Point, ...]:
    """The points of a text such as "0:1, 0.5:0.2, 1:0", sorted; those at the same position stay in the order given.

    Positions are fractions 0..1 where the unit is percent, else numbers from 0. Raises ValueError, quoting the piece
    that is wrong.
    """
    found = [_point(pair, UNITS[unit].most) for pair in pairs(text, _POINTS)]
    return tuple(sorted(found, key=lambda point: point.at))


_POINTS = Wanted("the points", "pairs of position and value such as 0:1, 10:0.5, 19:0", float)


def _point(pair: Pair, most: float) -> Point:
    at, value = (_POINTS.number(number, pair.piece) for number in (pair.name, pair.number))
    if at < 0:
        raise ValueError(f"Count positions from 0: the point {pair.piece!r} lies before the beginning.")
    if at > most:
        raise ValueError(
            f"Write 0.5 for the middle, or choose steps or frames as the unit: the point {pair.piece!r} lies past the "
            f"end, which is {most:g} in percent."
        )
    return Point(at, value)


class CurveShape(NamedTuple):
    """How a course goes: its value at a position, and values among which all its values lie."""

    value: Callable[[Curve, Position], float]
    value_bounds: Callable[[Curve], tuple[float, ...]]


def _ends(curve: Curve) -> tuple[float, ...]:
    return (curve.start, curve.end)


def _ramp(ease: Callable[[float], float]) -> CurveShape:
    """From start to end; ease says how far it has come, 0..1, when a share 0..1 of the way is done."""

    def value(curve: Curve, position: Position) -> float:
        come, way = ease(position.share), curve.end - curve.start
        # Counted from the nearer end, so that both ends are exact.
        return curve.start + way * come if come < 0.5 else curve.end - way * (1 - come)

    return CurveShape(value, _ends)


def _first_n(curve: Curve, position: Position) -> float:
    return curve.start if position.whole < curve.n else curve.end


def _random(curve: Curve, position: Position) -> float:
    """Drawn from the seed and the unit's number alone: the same whichever others were asked for."""
    return random.Random(f"{curve.seed} {position.whole}").uniform(curve.start, curve.end)


def _through_points(curve: Curve, position: Position) -> float:
    """On straight lines between points, held outside them; at a jump, the value after it."""
    known = points(curve.points, curve.unit)
    behind = bisect_right(known, position.at, key=lambda point: point.at)
    left, right = known[max(behind - 1, 0)], known[min(behind, len(known) - 1)]
    share = (position.at - left.at) / (right.at - left.at) if left.at < right.at else 0.0
    return left.value + (right.value - left.value) * share


def _values_of_points(curve: Curve) -> tuple[float, ...]:
    return tuple(point.value for point in points(curve.points, curve.unit))


SHAPES: dict[str, CurveShape] = {
    "constant": CurveShape(lambda curve, _: curve.start, lambda curve: (curve.start,)),
    "linear": _ramp(lambda share: share),
    # The eases are the quadratic ones of robertpenner.com/easing.
    "ease in": _ramp(lambda share: share**2),
    "ease out": _ramp(lambda share: 1 - (1 - share) ** 2),
    "ease in-out": _ramp(lambda share: 2 * share**2 if share < 0.5 else 1 - 2 * (1 - share) ** 2),
    "cosine": _ramp(lambda share: (1 - math.cos(math.pi * share)) / 2),
    "first n": CurveShape(_first_n, lambda curve: _ends(curve) if curve.n else (curve.end,)),
    "points": CurveShape(
        _through_points, lambda curve: tuple(point.value for point in points(curve.points, curve.unit))
    ),
    "random": CurveShape(_random, _ends),
}


def percent_at(sigma: float, percent_to_sigma: Callable[[float], float]) -> float:
    """Where in the noise schedule a noise level lies, 0..1 to 1e-4: the inverse of a model's falling percent_to_sigma.

    0 for levels above the schedule and 1 for those below it. By bisection: models have no inverse to ask for.
    """
    low, high = 0.0, 1.0
    while high - low > _NEAR:
        middle = (low + high) / 2
        low, high = (middle, high) if percent_to_sigma(middle) > sigma else (low, middle)
    return low if low == 0 else high
