"""How one weight λ spreads over the layers of a UNet: weight types as rows of a table, and their combinations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ..layers.layout import Layer
from ..layers.roles import INSTANT_STYLE, TUNED, LayerPosition, layer_positions, running_order


class LayerWeight(NamedTuple):
    """What a layer gets of λ: straight, as the prompt says; swapped: negative rows of the batch read the prompt's cond
    tokens and positive rows nothing."""

    positive: float = 1.0
    to_negative: float = 0.0


class Bar(NamedTuple):
    """A layer as a picture shows it: its share, and what its block is for (style, composition or rest)."""

    layer: Layer
    share: LayerWeight
    role: str


LayerRule = Callable[[tuple[Layer, ...]], Iterable[LayerWeight]]
"""A share for each of a model's layers, in their order; raises ValueError for a model that it does not fit."""


@dataclass(frozen=True)
class LayerWeights:
    """A way to spread λ over the layers of any model; source: whose style and composition blocks it goes by."""

    name: str
    spread: LayerRule
    source: str = TUNED

    def per_layer(self, layers: tuple[Layer, ...]) -> dict[Layer, LayerWeight]:
        """The share of every layer, in their order; layers: all of a model's. Raises ValueError where it cannot fit."""
        return dict(zip(layers, self.spread(layers), strict=True))

    def described(self, layers: tuple[Layer, ...]) -> tuple[Bar, ...]:
        """What a picture shows of it on a model with these layers, in the order in which they run."""
        shares = self.per_layer(layers)
        placed = sorted(layer_positions(layers, self.source), key=lambda place: running_order(place.layer))
        return tuple(Bar(place.layer, shares[place.layer], place.role.name) for place in placed)


class TypeCoefficients(NamedTuple):
    """What a layer gets of a type's two numbers: of the first, of the second, and of the second but swapped."""

    first: float = 0.0
    second: float = 0.0
    to_negative: float = 0.0

    def share(self, first: float, second: float) -> LayerWeight:
        """The share that it makes of two numbers."""
        return LayerWeight(self.first * first + self.second * second, self.to_negative * second)


Rule = Callable[[LayerPosition], TypeCoefficients]


class WeightType(NamedTuple):
    """A named way to spread λ: what a layer gets by its place, and whose style and composition blocks count."""

    rule: Rule
    source: str = TUNED


def _ease(shape: Callable[[float], float]) -> WeightType:
    """By how far the UNet has run, 0 to almost 1; never less than a twentieth."""
    return WeightType(lambda place: TypeCoefficients(0.05 + 0.95 * shape(place.t / place.many)))


def _by_stage(**parts: float) -> WeightType:
    """By stage; one that is not named keeps the whole weight."""
    return WeightType(lambda place: TypeCoefficients(parts.get(place.layer.stage, 1.0)))


def _by_role(source: str = TUNED, graded: bool = True, **amounts: TypeCoefficients) -> WeightType:
    """By what the block is for; graded: a block bears its own part of the role's weight."""

    def rule(place: LayerPosition) -> TypeCoefficients:
        part = place.role.part if graded else 1.0
        return TypeCoefficients(*(part * number for number in amounts.get(place.role.name, TypeCoefficients())))

    return WeightType(rule, source)


_FIRST, _SECOND, _NEGATIVE = TypeCoefficients(first=1), TypeCoefficients(second=1), TypeCoefficients(to_negative=1)

# The numbers of all but the last three are IPAdapter Plus's.
TYPES: dict[str, WeightType] = {
    "linear": _by_stage(),
    "ease in": _ease(lambda run: 1 - run),
    "ease out": _ease(lambda run: run),
    "ease in-out": _ease(lambda run: 1 - abs(2 * run - 1)),
    "reverse in-out": _ease(lambda run: abs(2 * run - 1)),
    "weak input": _by_stage(input=0.2),
    "weak output": _by_stage(output=0.2),
    "weak middle": _by_stage(middle=0.2),
    "strong middle": _by_stage(input=0.2, output=0.2),
    "style transfer": _by_role(style=_FIRST),
    "composition": _by_role(composition=_FIRST),
    "strong style transfer": _by_role(style=_FIRST, rest=_FIRST),
    "style and composition": _by_role(style=_FIRST, composition=_SECOND),
    "strong style and composition": _by_role(style=_FIRST, composition=_SECOND, rest=_FIRST, graded=False),
    "style transfer precise": _by_role(style=_FIRST, composition=_NEGATIVE),
    "composition precise": _by_role(style=_NEGATIVE, composition=_FIRST, rest=TypeCoefficients(to_negative=0.1)),
    "InstantStyle style": _by_role(INSTANT_STYLE, style=_FIRST),
    "InstantStyle layout": _by_role(INSTANT_STYLE, composition=_FIRST),
    "InstantStyle style and layout": _by_role(INSTANT_STYLE, style=_FIRST, composition=_SECOND),
}


def from_weight_type(name: str, first: float = 1.0, second: float = 1.0) -> LayerWeights:
    """A row of TYPES at two multiples of λ; second: of the composition, or of what is swapped, where the type has it.

    Raises ValueError when there is no such type, or a number cannot be meant.
    """
    if name not in TYPES:
        raise ValueError(f"There is no weight type called {name!r}; use one of {', '.join(TYPES)}.")
    check_finite(weight=first, second_weight=second)
    return LayerWeights(name, partial(_from_rule, name, first, second), TYPES[name].source)


def check_finite(**numbers: float) -> None:
    """Raises ValueError for a number that is infinite or none, by its name."""
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise ValueError(f"The {name} is {number}; it must be a finite number such as 0.8.")


def _from_rule(name: str, first: float, second: float, layers: tuple[Layer, ...]) -> list[LayerWeight]:
    rule, source = TYPES[name]
    return [rule(place).share(first, second) for place in layer_positions(layers, source)]


LINEAR = from_weight_type("linear")


class MergeMode(NamedTuple):
    """How two spreads make one: its sign in names, and what two shares of a layer become."""

    sign: str
    join: Callable[[LayerWeight, LayerWeight], LayerWeight]


def _product(a: LayerWeight, b: LayerWeight) -> LayerWeight:
    """What either of the two swaps stays swapped."""
    swapped = a.positive * b.to_negative + a.to_negative * b.positive + a.to_negative * b.to_negative
    return LayerWeight(a.positive * b.positive, swapped)


MERGE_MODES: dict[str, MergeMode] = {
    "multiply": MergeMode("x", _product),
    "add": MergeMode("+", lambda a, b: LayerWeight(*map(sum, zip(a, b, strict=True)))),
    "maximum": MergeMode(
        "max", lambda a, b: LayerWeight(max(a.positive, b.positive), max(a.to_negative, b.to_negative))
    ),
}


def merge_weights(way: str, a: LayerWeights, b: LayerWeights) -> LayerWeights:
    """Two spreads as one, layer by layer; way: a row of JOININGS. Raises ValueError when there is none of that name."""
    if way not in MERGE_MODES:
        raise ValueError(f"There is no way to combine called {way!r}; use one of {', '.join(MERGE_MODES)}.")
    source = a.source if a.source == b.source else TUNED
    return LayerWeights(f"{a.name} {MERGE_MODES[way].sign} {b.name}", partial(_merge, way, a, b), source)


def _merge(way: str, a: LayerWeights, b: LayerWeights, layers: tuple[Layer, ...]) -> list[LayerWeight]:
    return [MERGE_MODES[way].join(*pair) for pair in zip(a.spread(layers), b.spread(layers), strict=True)]
