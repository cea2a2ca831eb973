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
from ..text.number_lists import Pair, Wanted, pairs
from .layer_weights import LayerWeight, LayerWeights, check_finite

CUSTOM = "custom list"
"""What these weights are called where weight types are chosen."""

Select = Callable[[Sequence[LayerPosition]], list[Layer]]
"""The layers of a model that a name means; none where the model lacks some of them."""


class ListEntry(NamedTuple):
    """A name as it was written, the layers that it means, and their multiple of λ."""

    name: str
    select: Select
    number: float


class NamePattern(NamedTuple):
    """A way to name layers: its pattern, from whose groups select is made."""

    pattern: str
    select: Callable[..., Select]


def _all() -> Select:
    return lambda model: [place.layer for place in model]


def _role(name: str) -> Select:
    return lambda model: [place.layer for place in model if place.role.name == name]


def _range(first: str, last: str | None) -> Select:
    least, most = int(first), int(last or first)
    if least > most:
        raise ValueError(
            f"Write {last}-{first} in the list of layer weights; found '{first}-{last}', which runs backwards."
        )

    def select(model: Sequence[LayerPosition]) -> list[Layer]:
        has_all = any(place.t == most for place in model)
        return [place.layer for place in model if has_all and least <= place.t <= most]

    return select


def _address(stage: str, *numbers: str | None) -> Select:
    given = (stage, *(int(number) for number in numbers if number is not None))
    return lambda model: [place.layer for place in model if place.layer.address[: len(given)] == given]


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
    """The weights of a list, all of them multiplied by one number; layers that it does not name get nothing.

    Raises ValueError when the list cannot be read, and on a model that lacks what it names.
    """
    check_finite(weight=weight)
    return LayerWeights(CUSTOM, partial(_spread, parse(text), weight), muted=not weight)


def parse(text: str) -> tuple[ListEntry, ...]:
    """The entries of a list in their order, of which the later win. Raises ValueError that quotes the wrong piece."""
    return tuple(_entry(pair) for pair in pairs(text, _LIST))


def _entry(pair: Pair) -> ListEntry:
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
    found = dict.fromkeys(layers, 0.0)
    for entry in entries:
        named = entry.select(model)
        if not named:
            raise ValueError(
                f"The list of layer weights names {entry.name}, which this model lacks. It has {names_in(layers)}."
            )
        found.update(dict.fromkeys(named, entry.number))
    return [LayerWeight(number * weight) for number in found.values()]


def names_in(layers: tuple[Layer, ...]) -> str:
    """What can be named in a model: `input: 4 (0-1), 5 (0-1), 7 (0-9); …; style, composition, all; numbers 0-10`."""
    model, running = layer_positions(layers), sorted(layers, key=running_order)
    stages = (f"{stage}: {', '.join(_blocks(inside))}" for stage, inside in groupby(running, attrgetter("stage")))
    roles = sorted({place.role.name for place in model} - {REST.name}, reverse=True)
    return "; ".join([*stages, ", ".join([*roles, "all"]), f"numbers 0-{model[0].many - 1}"])


def _blocks(layers: Iterable[Layer]) -> Iterator[str]:
    """Numbers of the blocks of a stage, each with the numbers of its transformers where they are several."""
    for block, inside in groupby(layers, attrgetter("block")):
        *_, last = inside
        yield f"{block} (0-{last.depth})" if last.depth else f"{block}"
