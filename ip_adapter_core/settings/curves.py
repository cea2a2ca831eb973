"""Curves of λ: the table of their shapes, what they count in, and the points that people write."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ..text.checks import check_choice, check_finite
from ..text.number_lists import NamedNumber, Wanted, pairs


class Position(NamedTuple):
    """A position on a curve.

    at: the number in the curve's unit.
    last: the greatest number in this run.
    whole: number of whole units before it.
    """

    at: float
    last: float
    whole: int

    @property
    def share(self) -> float:
        """The position as a share of the whole curve, 0..1; 0 when there is only one position."""
        return min(max(self.at / self.last, 0.0), 1.0) if self.last > 0 else 0.0


class Unit(NamedTuple):
    """What a curve counts in: a row of UNITS.

    position: (number, how many there are) -> the position.
    most: the greatest possible number.
    """

    position: Callable[[float, int], Position]
    most: float


def _of_noise(at: float, _: int) -> Position:
    """Whole units are hundredths here, so that the shape "first n" has a meaning."""
    return Position(at, 1.0, min(int(round(at * 100, 6)), 99))


def _of_many(at: float, many: int) -> Position:
    return Position(at, many - 1, int(at))


UNITS: dict[str, Unit] = {
    "percent": Unit(_of_noise, 1.0),
    "steps": Unit(_of_many, math.inf),
    "frames": Unit(_of_many, math.inf),
}


class Point(NamedTuple):
    """A point of a curve.

    at: the position, in the curve's unit.
    value: the factor of λ there.
    """

    at: float
    value: float


@lru_cache(maxsize=16)
def points(text: str, unit: str) -> tuple[Point, ...]:
    """The points of a text such as "0:1, 0.5:0.2, 1:0", sorted; points at the same position keep their order.

    Positions are fractions 0..1 when the unit is percent, and numbers from 0 otherwise. Raises ValueError that quotes
    the wrong piece.
    """
    read = [_point(pair, UNITS[unit].most) for pair in pairs(text, _POINTS)]
    return tuple(sorted(read, key=lambda point: point.at))


_POINTS = Wanted("the points", "pairs of position and value such as 0:1, 10:0.5, 19:0", float)


def _point(pair: NamedNumber, most: float) -> Point:
    at, value = (_POINTS.number(number, pair.piece) for number in (pair.name, pair.number))
    if at < 0:
        raise ValueError(f"Count positions from 0: the point {pair.piece!r} lies before the beginning.")
    if at > most:
        raise ValueError(
            f"Write 0.5 for the middle, or choose steps or frames as the unit: the point {pair.piece!r} lies past the "
            f"end, which is {most:g} in percent."
        )
    return Point(at, value)


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
        check_choice("shape", self.shape, SHAPES)
        check_choice("unit", self.unit, UNITS)
        check_finite(start_value=self.start, end_value=self.end)
        if self.n < 0:
            raise ValueError(f"Set n to 0 or more; found {self.n}.")
        self.value_bounds()  # raises ValueError for points that cannot be read
        return self

    def value(self, at: float, many: int) -> float:
        """The factor of λ at a position, 0..1 or a number from 0; many: number of steps or frames."""
        return SHAPES[self.shape].value(self, UNITS[self.unit].position(at, many))

    def value_bounds(self) -> tuple[float, ...]:
        """Values of which the least and the greatest bound all values of the curve."""
        return SHAPES[self.shape].value_bounds(self)


class CurveShape(NamedTuple):
    """The formula of a shape: a row of SHAPES.

    value: the curve's value at a position.
    value_bounds: values of which the least and the greatest bound all values of the curve.
    """

    value: Callable[[Curve, Position], float]
    value_bounds: Callable[[Curve], tuple[float, ...]]


def _ends(curve: Curve) -> tuple[float, ...]:
    return (curve.start, curve.end)


def _ramp(ease: Callable[[float], float]) -> CurveShape:
    """From start to end; ease: share of the curve, 0..1 -> progress from start to end, 0..1."""

    def value(curve: Curve, position: Position) -> float:
        progress, span = ease(position.share), curve.end - curve.start
        # Computed from the nearer end, so that both ends are exact.
        return curve.start + span * progress if progress < 0.5 else curve.end - span * (1 - progress)

    return CurveShape(value, _ends)


def _first_n(curve: Curve, position: Position) -> float:
    return curve.start if position.whole < curve.n else curve.end


def _random(curve: Curve, position: Position) -> float:
    """Depends on the seed and the number of the unit alone, not on the order of the calls."""
    return random.Random(f"{curve.seed} {position.whole}").uniform(curve.start, curve.end)


def _through_points(curve: Curve, position: Position) -> float:
    """Straight lines between points, constant outside them; at a jump, the value after it."""
    all_points = points(curve.points, curve.unit)
    next_one = bisect_right(all_points, position.at, key=lambda point: point.at)
    left, right = all_points[max(next_one - 1, 0)], all_points[min(next_one, len(all_points) - 1)]
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
    "points": CurveShape(_through_points, _values_of_points),
    "random": CurveShape(_random, _ends),
}
