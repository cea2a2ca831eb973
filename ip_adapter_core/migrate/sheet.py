"""What a graph says, whichever way it is written: nodes with values and sources by the names of their inputs."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

from ..compat.signatures import OTHER_SHAPES, SIGNATURES, Input, Signature
from ..compat.words import NORM_AVERAGE_OF_OLD, OLD_NUMBERS
from ..text.wording import quoted

Key = Hashable
"""What a graph calls a node."""

ACTIVE, MUTED = 0, 2
"""Modes of nodes in the editor; every other one but ACTIVE lets its inputs pass."""

OLD_SOCKETS = ("IPADAPTER", "EMBEDS", "INSIGHTFACE", "IPADAPTER_PARAMS", "WEIGHTS_STRATEGY")
"""Types that only nodes of IPAdapter Plus and its friends take."""

HELD_BY_NUMBERS = f"its row numbers asks for those of {OLD_NUMBERS}, which no node of ours computes all"

_ONE_NUMBER = ("PrimitiveNode", "PrimitiveFloat", "PrimitiveInt")
_PASSING = ("Reroute", "Reroute (rgthree)")
ROWS = SIGNATURES | OTHER_SHAPES
"""All old nodes."""


class Stays(Exception):
    """Why a node cannot become another one, as a sentence for the report."""


class Way(NamedTuple):
    """How pictures are to be computed: rightly, or with the old pack's numbers.

    skip_middle: whether the middle block is left out. combines: its ways to combine -> ours, where they differ.
    """

    skip_middle: bool = False
    combines: Mapping[str, str] = {}


RIGHT, OLD = Way(), Way(True, NORM_AVERAGE_OF_OLD)


class Source(NamedTuple):
    """An output in the graph: of which node, and its number."""

    node: Key
    slot: int


class Made(NamedTuple):
    """An output of a node that conversion makes: of which old node, which of its parts, and the output's number."""

    owner: Key
    part: str
    slot: int = 0


Given = Any
"""What an input of a new node gets: a value, a Source, a Made, or None for nothing."""


class Part(NamedTuple):
    """A new node: its part in the old one, its id, and what its inputs get where that is not the default."""

    name: str
    node: str
    inputs: dict[str, Given]


class Plan(NamedTuple):
    """What an old node becomes: the last part keeps its place.

    outputs: old ones by number -> where they are now. needless: inputs whose links change nothing.
    """

    parts: tuple[Part, ...] = ()
    outputs: Mapping[int, Source | Made | None] = {}
    needless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Node:
    """A node of a graph.

    id: a row of SIGNATURES or OTHER_SHAPES; None for nodes of others.
    values: of the widgets. sources: of the inputs that are linked, by name; by number in nodes of others.
    gives_model: whether its first output is a MODEL. held: why it must stay whatever it is.
    """

    key: Key
    type: str
    id: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    mode: int = ACTIVE
    gives_model: bool = False
    held: str = ""

    @property
    def row(self) -> Signature:
        """What an old node is."""
        return ROWS[self.id or ""]

    def linked(self, name: str) -> Source:
        """The source of a socket. Raises Stays where there is none."""
        if name not in self.sources:
            raise Stays(f"connect its {name} first; nothing is connected")
        return self.sources[name]

    def word(self, name: str) -> str:
        """A word or a text of a widget. Raises Stays when it comes through a link, or is no text."""
        if name in self.sources:
            raise Stays(f"its {name} comes through a link, and is known only when the graph runs")
        if not isinstance(self.values.get(name), str):
            raise Stays(f"its {name} is no text: {quoted(self.values.get(name))}")
        return str(self.values[name])

    def number(self, name: str) -> Given:
        """A number or a switch of a widget, or its source. Raises Stays when it is something else."""
        if name in self.sources:
            return self.sources[name]
        value, kind = self.values.get(name), self._widget(name).type
        if (kind == "BOOLEAN") != isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise Stays(f"its {name} is {quoted(value)}")
        return value

    def constant(self, name: str) -> Any:
        """As `number`. Raises Stays also when it comes through a link."""
        if name in self.sources:
            raise Stays(f"its {name} comes through a link")
        return self.number(name)

    def _widget(self, name: str) -> Input:
        found = self.row.input(name)
        if found is None:
            raise KeyError(name)
        return found


class Sheet:
    """The nodes of a graph, and who takes what from whom."""

    def __init__(self, nodes: Mapping[Key, Node], outside: Mapping[Source, int] | None = None) -> None:
        """outside: how often an output leaves the graph, where the graph is part of another one."""
        self.nodes = nodes
        self._outside = outside or {}
        self._takers: dict[Source, list[tuple[Node, str]]] = {}
        for node in nodes.values():
            for name, source in node.sources.items():
                self._takers.setdefault(source, []).append((node, name))

    def old(self) -> Iterator[Node]:
        """The nodes of IPAdapter Plus."""
        return (node for node in self.nodes.values() if node.id)

    def origin(self, source: Source) -> Source:
        """Where an output really comes from: Reroutes only pass it on."""
        seen = set()
        while (node := self.nodes.get(source.node)) and node.type in _PASSING and node.sources and source not in seen:
            seen.add(source)
            source = next(iter(node.sources.values()))
        return source

    def giver(self, source: Source) -> Node | None:
        """The old node that an output comes from; None for nodes of others."""
        node = self.nodes.get(self.origin(source).node)
        return node if node and node.id else None

    def takers(self, source: Source) -> list[tuple[Node, str]]:
        """Nodes that take an output, and by which input, through Reroutes too."""
        found = []
        for node, name in self._takers.get(source, []):
            found += self.takers(Source(node.key, 0)) if node.type in _PASSING else [(node, name)]
        return found

    def is_taken(self, source: Source) -> bool:
        """Whether anything takes an output."""
        return bool(self.takers(source)) or self.leaves(source)

    def is_one_number(self, source: Source) -> bool:
        """Whether an output is known to be a number and no list of them."""
        node = self.nodes.get(self.origin(source).node)
        return node is not None and node.type in _ONE_NUMBER

    def leaves(self, source: Source) -> bool:
        """Whether an output leaves the graph, also through Reroutes."""
        passed = (node for node, _ in self._takers.get(source, []) if node.type in _PASSING)
        return bool(self._outside.get(source)) or any(self.leaves(Source(node.key, 0)) for node in passed)


def values_of(row: Signature, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a node's widgets by name; defaults where there are none."""
    return {widget.name: given.get(widget.name, widget.default) for widget in row.widgets}


def is_old(node: str) -> bool:
    """Whether an id is a row of SIGNATURES or OTHER_SHAPES."""
    return node in ROWS
