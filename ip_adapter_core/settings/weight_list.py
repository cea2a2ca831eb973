"""Weights written as a list: `output.1 = 1, input: 0.2, style = 1, 0-3: 0.2`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from ..layers.layout import Layer
from ..layers.roles import COMPOSITION, REST, STAGES, STYLE, LayerPosition, layer_positions, running_order
from ..text.checks import check_finite
from ..text.number_lists import NamedNumber, Wanted, pairs
from .layer_weights import LayerWeight, LayerWeights

CUSTOM = "custom list"
"""The name of these weights in the menu of weight types."""

Select = Callable[[Sequence[LayerPosition]], list[Layer]]
"""The layers of a model that a name means; empty when the model lacks some of them."""


class ListEntry(NamedTuple):
    """One entry of a list.

    name: as the user wrote it.
    select: the layers that it means.
    number: their factor of λ.
    """

    name: str
    select: Select
    number: float


class NamePattern(NamedTuple):
    """A way to name layers.

    pattern: regular expression of the name.
    select: groups of the pattern -> the layers that the name means.
    """

    pattern: str
    select: Callable[..., Select]


def _all() -> Select:
    return lambda model: [position.layer for position in model]


def _role(name: str) -> Select:
    return lambda model: [position.layer for position in model if position.role.name == name]


def _range(first: str, last: str | None) -> Select:
    least, most = int(first), int(last or first)
    if least > most:
        raise ValueError(
            f"Write {last}-{first} in the list of layer weights; found '{first}-{last}', which runs backwards."
        )

    def select(model: Sequence[LayerPosition]) -> list[Layer]:
        has_all = any(position.t == most for position in model)
        return [position.layer for position in model if has_all and least <= position.t <= most]

    return select


def _address(stage: str, *numbers: str | None) -> Select:
    address = (stage, *(int(number) for number in numbers if number is not None))
    return lambda model: [position.layer for position in model if position.layer.address[: len(address)] == address]


_FORMS = (
    NamePattern("all", _all),
    NamePattern(f"({STYLE.name}|{COMPOSITION.name})", _role),
    NamePattern(r"([0-9]+)(?:\s*[-–]\s*([0-9]+))?", _range),
    NamePattern(rf"({'|'.join(STAGES)})(?:\s*\.\s*([0-9]+)(?:\s*\.\s*([0-9]+))?)?", _address),
)
_NAMES = (
    "a block such as output.1, a stage (input, middle, output), style, composition, all, or numbers such as 4 or 0-3"
)


def custom(text: str, weight: float = 1.0) -> LayerWeights:
    """The weights of a list, all multiplied with one number; layers that the list does not name get 0.

    Raises ValueError when the list cannot be read, and on a model that lacks what it names.
    """
    check_finite(weight=weight)
    return LayerWeights(CUSTOM, partial(_spread, parse(text), weight), muted=not weight)


def parse(text: str) -> tuple[ListEntry, ...]:
    """The entries of a list in their order; later ones overrule. Raises ValueError that quotes the wrong piece."""
    return tuple(_entry(pair) for pair in pairs(text, _LIST))


def _entry(pair: NamedNumber) -> ListEntry:
    return ListEntry(pair.name, _select(pair.name), _LIST.number(pair.number, pair.piece))


_LIST = Wanted(
    "the list of layer weights",
    "names and numbers such as style = 1, composition = 0.3, with commas or new lines between them and points in "
    "decimals",
    float,
)


def _select(name: str) -> Select:
    for form in _FORMS:
        if match := re.fullmatch(form.pattern, name, re.IGNORECASE):
            return form.select(*(group and group.lower() for group in match.groups()))
    raise ValueError(f"Name layers in the list of layer weights by {_NAMES}; found {name!r}.")


def _spread(entries: Sequence[ListEntry], weight: float, layers: tuple[Layer, ...]) -> list[LayerWeight]:
    model = layer_positions(layers)
    numbers = dict.fromkeys(layers, 0.0)
    for entry in entries:
        selected = entry.select(model)
        if not selected:
            raise ValueError(
                f"Name only layers of this model in the list of layer weights; it has {names_in(layers)}, "
                f"and found {entry.name}, which it lacks."
            )
        numbers.update(dict.fromkeys(selected, entry.number))
    return [LayerWeight(number * weight) for number in numbers.values()]


def names_in(layers: tuple[Layer, ...]) -> str:
    """The names that a model has: `input: 4 (0-1), 5 (0-1), 7 (0-9); …; style, composition, all; numbers 0-10`."""
    model, running = layer_positions(layers), sorted(layers, key=running_order)
    stages = (f"{stage}: {', '.join(_blocks(inside))}" for stage, inside in groupby(running, attrgetter("stage")))
    roles = sorted({position.role.name for position in model} - {REST.name}, reverse=True)
    return "; ".join([*stages, ", ".join([*roles, "all"]), f"numbers 0-{model[0].many - 1}"])


def _blocks(layers: Iterable[Layer]) -> Iterator[str]:
    """Numbers of the blocks of a stage; a block with several transformers also has their numbers."""
    for block, inside in groupby(layers, attrgetter("block")):
        first, *others = inside
        yield f"{block} ({first.depth}-{others[-1].depth})" if others else f"{block}"
