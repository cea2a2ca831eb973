"""How one weight λ spreads over the layers of a model: weight types as rows of a table, and their combinations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ..layers.layout import Layer
from ..layers.roles import INSTANT_STYLE, TUNED, LayerPosition, has_roles, layer_positions, running_order
from ..text.checks import check_choice, check_finite


class LayerWeight(NamedTuple):
    """The factors of λ in a layer.

    positive: for the usual use: positive rows of the batch read the cond tokens, negative rows the uncond tokens.
    to_negative: for the reverse use: negative rows read the cond tokens, and positive rows read nothing.
    """

    positive: float = 1.0
    to_negative: float = 0.0


class Bar(NamedTuple):
    """A layer in a picture of weights.

    layer: the layer.
    share: its factors of λ.
    role: what its block is for, "style", "composition" or "rest".
    """

    layer: Layer
    share: LayerWeight
    role: str


LayerRule = Callable[[tuple[Layer, ...]], Iterable[LayerWeight]]
"""Factors of λ for each of a model's layers, in their order; raises ValueError for a model that it does not fit."""


@dataclass(frozen=True)
class LayerWeights:
    """A way to spread λ over the layers of any model.

    name: for the user.
    spread: all layers of a model -> the factors of each.
    source: of the style and composition blocks, TUNED or INSTANT_STYLE.
    muted: whether its own weight is 0, so that it is meant to do nothing.
    """

    name: str
    spread: LayerRule
    source: str = TUNED
    muted: bool = False

    def per_layer(self, layers: tuple[Layer, ...]) -> dict[Layer, LayerWeight]:
        """The factors of every layer, in their order; layers: all of a model's. Raises ValueError if it cannot fit."""
        return dict(zip(layers, self.spread(layers), strict=True))

    def bars(self, layers: tuple[Layer, ...]) -> tuple[Bar, ...]:
        """Bars for a model with these layers, in the order in which the layers run."""
        weights = self.per_layer(layers)
        positions = sorted(layer_positions(layers, self.source), key=lambda position: running_order(position.layer))
        return tuple(Bar(position.layer, weights[position.layer], position.role.name) for position in positions)


def act_nowhere(weights: Mapping[Layer, LayerWeight]) -> bool:
    """Whether all factors of all layers are 0."""
    return not any(any(weight) for weight in weights.values())


class TypeCoefficients(NamedTuple):
    """How a weight type's two numbers enter a layer.

    first: factor of the first number in LayerWeight.positive.
    second: factor of the second number in LayerWeight.positive.
    to_negative: factor of the second number in LayerWeight.to_negative.
    """

    first: float = 0.0
    second: float = 0.0
    to_negative: float = 0.0

    def layer_weight(self, first: float, second: float) -> LayerWeight:
        """The layer's factors for two numbers."""
        return LayerWeight(self.first * first + self.second * second, self.to_negative * second)


Rule = Callable[[LayerPosition], TypeCoefficients]


class WeightType(NamedTuple):
    """A named way to spread λ: a row of TYPES.

    rule: position of a layer -> how the two numbers enter it.
    source: of the style and composition blocks, TUNED or INSTANT_STYLE.
    of_unet: whether it names stages or blocks that only a UNet has.
    """

    rule: Rule
    source: str = TUNED
    of_unet: bool = False


def _ease(shape: Callable[[float], float]) -> WeightType:
    """By the progress of the model, from 0 to almost 1; the weight is at least 0.05."""
    return WeightType(lambda position: TypeCoefficients(0.05 + 0.95 * shape(position.t / position.many)))


def _by_stage(**parts: float) -> WeightType:
    """By stage; a stage that is not named keeps the whole weight."""
    return WeightType(lambda position: TypeCoefficients(parts.get(position.layer.stage, 1.0)), of_unet=bool(parts))


def _by_role(source: str = TUNED, graded: bool = True, **by_role: TypeCoefficients) -> WeightType:
    """By the role of the block; graded: whether a block gets only its own part of the role's weight."""

    def rule(position: LayerPosition) -> TypeCoefficients:
        part = position.role.part if graded else 1.0
        return TypeCoefficients(*(part * number for number in by_role.get(position.role.name, TypeCoefficients())))

    return WeightType(rule, source, of_unet=True)


_FIRST, _SECOND, _NEGATIVE = TypeCoefficients(first=1), TypeCoefficients(second=1), TypeCoefficients(to_negative=1)

# The numbers are IPAdapter Plus's, but those of InstantStyle, which are its authors'.
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
    """A row of TYPES with its two numbers, both multiples of λ.

    first: for all layers, or for the style. second: for the composition, or for the tokens that push away, in types
    that have these. Raises ValueError when there is no such type, or a number is not finite.
    """
    check_choice("weight_type", name, TYPES)
    check_finite(weight=first, second_weight=second)
    return LayerWeights(name, partial(_from_rule, name, first, second), TYPES[name].source, muted=not first)


def _from_rule(name: str, first: float, second: float, layers: tuple[Layer, ...]) -> list[LayerWeight]:
    rule, source, of_unet = TYPES[name]
    if of_unet and not has_roles(layers):
        raise ValueError(
            f"Choose {', '.join(other for other, row in TYPES.items() if not row.of_unet)} or a custom list for this "
            f"model; {name} names stages or blocks of a UNet, and it has none."
        )
    return [rule(position).layer_weight(first, second) for position in layer_positions(layers, source)]


LINEAR = from_weight_type("linear")


class MergeMode(NamedTuple):
    """How two ways to spread λ become one: a row of MERGE_MODES.

    sign: in the name of the result.
    join: the factors of a layer in both -> its factors in the result.
    """

    sign: str
    join: Callable[[LayerWeight, LayerWeight], LayerWeight]


def _product(a: LayerWeight, b: LayerWeight) -> LayerWeight:
    """A layer that pushes away in one of the two also does in the product."""
    to_negative = a.positive * b.to_negative + a.to_negative * b.positive + a.to_negative * b.to_negative
    return LayerWeight(a.positive * b.positive, to_negative)


MERGE_MODES: dict[str, MergeMode] = {
    "multiply": MergeMode("x", _product),
    "add": MergeMode("+", lambda a, b: LayerWeight(*map(sum, zip(a, b, strict=True)))),
    "maximum": MergeMode(
        "max", lambda a, b: LayerWeight(max(a.positive, b.positive), max(a.to_negative, b.to_negative))
    ),
}


def merge_weights(way: str, a: LayerWeights, b: LayerWeights) -> LayerWeights:
    """Two ways to spread λ as one, layer by layer; way: a row of MERGE_MODES, otherwise it raises ValueError."""
    check_choice("combine", way, MERGE_MODES)
    source = a.source if a.source == b.source else TUNED
    mode, weights = MERGE_MODES[way], [LayerWeight(float(not one.muted)) for one in (a, b)]
    return LayerWeights(
        f"{a.name} {mode.sign} {b.name}", partial(_merge, way, a, b), source, muted=not mode.join(*weights).positive
    )


def _merge(way: str, a: LayerWeights, b: LayerWeights, layers: tuple[Layer, ...]) -> list[LayerWeight]:
    return [MERGE_MODES[way].join(*pair) for pair in zip(a.spread(layers), b.spread(layers), strict=True)]
