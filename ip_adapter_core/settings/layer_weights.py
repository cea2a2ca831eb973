"""How one weight λ spreads over the layers of a UNet: weight types as rows of a table, and their combinations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ..layers.layout import Layer
from ..layers.roles import INSTANT_STYLE, TUNED, Place, places, running


class Share(NamedTuple):
    """What a layer gets of λ: straight, as the prompt says; swapped: negative rows of the batch read the prompt's cond
    tokens and positive rows nothing."""

    straight: float = 1.0
    swapped: float = 0.0


class Bar(NamedTuple):
    """A layer as a picture shows it: its share, and what its block is for (style, composition or rest)."""

    layer: Layer
    share: Share
    role: str


Spread = Callable[[tuple[Layer, ...]], Iterable[Share]]
"""A share for each of a model's layers, in their order; raises ValueError for a model that it does not fit."""


@dataclass(frozen=True)
class LayerWeights:
    """A way to spread λ over the layers of any model; source: whose style and composition blocks it goes by."""

    name: str
    spread: Spread
    source: str = TUNED

    def on(self, layers: tuple[Layer, ...]) -> dict[Layer, Share]:
        """The share of every layer, in their order; layers: all of a model's. Raises ValueError where it cannot fit."""
        return dict(zip(layers, self.spread(layers), strict=True))

    def described(self, layers: tuple[Layer, ...]) -> tuple[Bar, ...]:
        """What a picture shows of it on a model with these layers, in the order in which they run."""
        shares = self.on(layers)
        placed = sorted(places(layers, self.source), key=lambda place: running(place.layer))
        return tuple(Bar(place.layer, shares[place.layer], place.role.name) for place in placed)


class Amount(NamedTuple):
    """What a layer gets of a type's two numbers: of the first, of the second, and of the second but swapped."""

    first: float = 0.0
    second: float = 0.0
    swapped: float = 0.0

    def share(self, first: float, second: float) -> Share:
        """The share that it makes of two numbers."""
        return Share(self.first * first + self.second * second, self.swapped * second)


Rule = Callable[[Place], Amount]


class WeightType(NamedTuple):
    """A named way to spread λ: what a layer gets by its place, and whose style and composition blocks count."""

    rule: Rule
    source: str = TUNED


def _eased(shape: Callable[[float], float]) -> WeightType:
    """By how far the UNet has run, 0 to almost 1; never less than a twentieth."""
    return WeightType(lambda place: Amount(0.05 + 0.95 * shape(place.t / place.many)))


def _staged(**parts: float) -> WeightType:
    """By stage; one that is not named keeps the whole weight."""
    return WeightType(lambda place: Amount(parts.get(place.layer.stage, 1.0)))


def _by_role(source: str = TUNED, graded: bool = True, **amounts: Amount) -> WeightType:
    """By what the block is for; graded: a block bears its own part of the role's weight."""

    def rule(place: Place) -> Amount:
        part = place.role.part if graded else 1.0
        return Amount(*(part * number for number in amounts.get(place.role.name, Amount())))

    return WeightType(rule, source)


_FIRST, _SECOND, _AGAINST = Amount(first=1), Amount(second=1), Amount(swapped=1)

# The numbers of all but the last three are IPAdapter Plus's.
TYPES: dict[str, WeightType] = {
    "linear": _staged(),
    "ease in": _eased(lambda run: 1 - run),
    "ease out": _eased(lambda run: run),
    "ease in-out": _eased(lambda run: 1 - abs(2 * run - 1)),
    "reverse in-out": _eased(lambda run: abs(2 * run - 1)),
    "weak input": _staged(input=0.2),
    "weak output": _staged(output=0.2),
    "weak middle": _staged(middle=0.2),
    "strong middle": _staged(input=0.2, output=0.2),
    "style transfer": _by_role(style=_FIRST),
    "composition": _by_role(composition=_FIRST),
    "strong style transfer": _by_role(style=_FIRST, rest=_FIRST),
    "style and composition": _by_role(style=_FIRST, composition=_SECOND),
    "strong style and composition": _by_role(style=_FIRST, composition=_SECOND, rest=_FIRST, graded=False),
    "style transfer precise": _by_role(style=_FIRST, composition=_AGAINST),
    "composition precise": _by_role(style=_AGAINST, composition=_FIRST, rest=Amount(swapped=0.1)),
    "InstantStyle style": _by_role(INSTANT_STYLE, style=_FIRST),
    "InstantStyle layout": _by_role(INSTANT_STYLE, composition=_FIRST),
    "InstantStyle style and layout": _by_role(INSTANT_STYLE, style=_FIRST, composition=_SECOND),
}


def of_type(name: str, first: float = 1.0, second: float = 1.0) -> LayerWeights:
    """A row of TYPES at two multiples of λ; second: of the composition, or of what is swapped, where the type has it.

    Raises ValueError when there is no such type, or a number cannot be meant.
    """
    if name not in TYPES:
        raise ValueError(f"There is no weight type called {name!r}; use one of {', '.join(TYPES)}.")
    check_finite(weight=first, second_weight=second)
    return LayerWeights(name, partial(_typed, name, first, second), TYPES[name].source)


def check_finite(**numbers: float) -> None:
    """Raises ValueError for a number that is infinite or none, by its name."""
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise ValueError(f"The {name} is {number}; it must be a finite number such as 0.8.")


def _typed(name: str, first: float, second: float, layers: tuple[Layer, ...]) -> list[Share]:
    rule, source = TYPES[name]
    return [rule(place).share(first, second) for place in places(layers, source)]


LINEAR = of_type("linear")


class Joining(NamedTuple):
    """How two spreads make one: its sign in names, and what two shares of a layer become."""

    sign: str
    join: Callable[[Share, Share], Share]


def _product(a: Share, b: Share) -> Share:
    """What either of the two swaps stays swapped."""
    swapped = a.straight * b.swapped + a.swapped * b.straight + a.swapped * b.swapped
    return Share(a.straight * b.straight, swapped)


JOININGS: dict[str, Joining] = {
    "multiply": Joining("x", _product),
    "add": Joining("+", lambda a, b: Share(a.straight + b.straight, a.swapped + b.swapped)),
    "maximum": Joining("max", lambda a, b: Share(max(a.straight, b.straight), max(a.swapped, b.swapped))),
}


def combined(way: str, a: LayerWeights, b: LayerWeights) -> LayerWeights:
    """Two spreads as one, layer by layer; way: a row of JOININGS. Raises ValueError when there is none of that name."""
    if way not in JOININGS:
        raise ValueError(f"There is no way to combine called {way!r}; use one of {', '.join(JOININGS)}.")
    source = a.source if a.source == b.source else TUNED
    return LayerWeights(f"{a.name} {JOININGS[way].sign} {b.name}", partial(_joined, way, a, b), source)


def _joined(way: str, a: LayerWeights, b: LayerWeights, layers: tuple[Layer, ...]) -> list[Share]:
    return [JOININGS[way].join(*pair) for pair in zip(a.spread(layers), b.spread(layers), strict=True)]
