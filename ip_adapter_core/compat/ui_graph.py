"""A graph as the editor saves it, walked: its lists of nodes wherever they are, and their links in every form.

A graph is the JSON of the file. Nothing here expects that what an editor writes is all there: files of three years,
and of programs that write graphs, lack ids, inputs, values and links.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Node = dict[str, Any]

_OF_ARRAY = {"id": 0, "origin_id": 1, "origin_slot": 2, "target_id": 3, "target_slot": 4, "type": 5}
_OF_GROUP = {"origin_id": 0, "origin_slot": 1, "target_id": 2, "target_slot": 3, "type": 5}
"""Where an array has the fields of a link; one of a group node names nodes by their place in its list."""


@dataclass(frozen=True)
class Link:
    """A link of the file, which is written to when it is changed.

    record: an array, or in subgraphs an object.
    places: where the record has each field; empty where it has them by name.
    """

    record: Any
    places: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """id, origin_id, origin_slot, target_id, target_slot or type; None where the file has none."""
        if isinstance(self.record, dict):
            return self.record.get(name)
        place = self.places.get(name, len(self.record))
        return self.record[place] if place < len(self.record) else None

    def __setitem__(self, name: str, value: Any) -> None:
        self.record[name if isinstance(self.record, dict) else self.places[name]] = value


@dataclass(frozen=True)
class Level:
    """A list of nodes with its links: the graph itself, a subgraph, or the inside of a group node.

    name: as people see it; empty for the graph itself.
    content: the part of the file that has `nodes` and `links`.
    grouped: whether it is a group node's.
    """

    name: str
    content: dict[str, Any]
    grouped: bool = False

    @property
    def nodes(self) -> list[Node]:
        """Its nodes that have a type."""
        return [node for node in _list(self.content, "nodes") if isinstance(_known(node).get("type"), str)]

    @property
    def links(self) -> list[Link]:
        """Its links."""
        places = _OF_GROUP if self.grouped else _OF_ARRAY
        return [Link(record, places) for record in _list(self.content, "links") if isinstance(record, list | dict)]

    def key(self, node: Node) -> Any:
        """What links call a node: its id, in a group its place; None where it has neither."""
        if not self.grouped:
            return node.get("id")
        return next((place for place, other in enumerate(_list(self.content, "nodes")) if other is node), None)

    def links_to(self, node: Node) -> dict[str, Link]:
        """The links into a node by the name of the input; the slot numbers in links are not relied on."""
        if self.grouped:
            return self._by_slot(node)
        found = {}
        for given in sockets(node, "inputs"):
            named = [link for link in self.links if given.get("link") is not None and link["id"] == given["link"]]
            named.sort(key=lambda link: link["target_id"] != node.get("id"))  # ids of links may be there twice
            if named:
                found[str(given.get("name"))] = named[0]
        return found

    def links_from(self, node: Node) -> list[Link]:
        """The links out of a node."""
        key = self.key(node)
        return [link for link in self.links if key is not None and link["origin_id"] == key]

    def _by_slot(self, node: Node) -> dict[str, Link]:
        names, key = input_names(node), self.key(node)
        inside = [link for link in self.links if link["target_id"] == key]
        slots = [(link["target_slot"], link) for link in inside]
        return {names[slot]: link for slot, link in slots if isinstance(slot, int) and 0 <= slot < len(names)}


def levels(graph: Any) -> Iterator[Level]:
    """The lists of nodes of a graph, from outside to inside."""
    yield from _subgraphs("", _known(graph))
    groups = _known(_known(_known(graph).get("extra")).get("groupNodes"))
    yield from (Level(str(name), _known(group), True) for name, group in groups.items())


def sockets(node: Node, side: str) -> list[dict[str, Any]]:
    """The sockets of a node; side: inputs or outputs."""
    return [socket for socket in _list(node, side) if isinstance(socket, dict)]


def input_names(node: Node) -> list[str]:
    """The names of a node's inputs, in the order of their slots."""
    return [str(_known(socket).get("name")) for socket in _list(node, "inputs")]


def values(node: Node, names: Sequence[str]) -> dict[str, Any]:
    """The values of a node's widgets by name; those that the file has none for, or no finite number, are left out.

    names: of all widgets, in the order in which the file lists their values.
    """
    saved = node.get("widgets_values")
    by_name = saved if isinstance(saved, dict) else dict(zip(names, _list(node, "widgets_values"), strict=False))
    return {name: by_name[name] for name in names if not is_missing(by_name.get(name))}


def is_missing(value: Any) -> bool:
    """Whether a saved value says nothing: null, or no finite number."""
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _subgraphs(name: str, content: dict[str, Any]) -> Iterator[Level]:
    yield Level(name, content)
    for inner in _list(_known(content.get("definitions")), "subgraphs"):
        yield from _subgraphs(str(_known(inner).get("name")), _known(inner))


def _known(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(holder: dict[str, Any], name: str) -> list[Any]:
    held = holder.get(name)
    return held if isinstance(held, list) else []
