"""Graphs of the editor, read: what a level of one says, and which numbers are free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..compat import ui_graph
from ..compat.ui_graph import Level, levels, sockets
from ..compat.words import NUMBERS_ROW, OLD_NUMBERS
from .drawn import Record
from .sheet import HELD_BY_NUMBERS, ROWS, Node, Sheet, Source, is_old, values_of

_GROUPED = "it is inside a group node, whose sockets are those of the nodes in it"
_SHOWN = "its widgets are shown on the subgraph that it is in"
_TWICE = "two nodes have its number"
_NAMELESS = "it has no number, so that nothing can be connected to it"


class Counters:
    """Numbers that no node and no link of a file has."""

    def __init__(self, graph: Record) -> None:
        found = list(levels(graph))
        self.node = max([*_numbers(graph, "node"), *(_number(n.get("id")) for at in found for n in at.nodes)])
        self.link = max([*_numbers(graph, "link"), *(_number(link["id"]) for at in found for link in at.links)])

    def next_node(self) -> int:
        """A number for a node."""
        self.node += 1
        return self.node

    def next_link(self) -> int:
        """A number for a link."""
        self.link += 1
        return self.link


def read(level: Level, shown: set[str]) -> Sheet:
    """What a level says; its old nodes are in today's shape. shown: nodes whose widgets are on the subgraph."""
    keys = Counter(str(level.key(node)) for node in level.nodes)
    nodes = {}
    for place, record in enumerate(level.nodes):
        node = _node(level, record, place, keys, shown)
        nodes[node.key] = node
    outside = Counter(origin_of(link) for link in level.links if link["target_id"] not in nodes)
    return Sheet(nodes, outside)


def shown_widgets(graph: Record) -> dict[str, set[str]]:
    """Nodes whose widgets a subgraph shows, by the subgraph."""
    found: dict[str, set[str]] = {}
    for node in (node for level in levels(graph) for node in level.nodes):
        pairs = (node.get("properties") or {}).get("proxyWidgets") or []
        found.setdefault(node["type"], set()).update(str(pair[0]) for pair in pairs if isinstance(pair, list) and pair)
    return found


def _node(level: Level, record: Record, place: int, keys: Mapping[str, int], shown: set[str]) -> Node:
    key, kind = level.key(record), str(record["type"])
    twice = keys[str(key)] > 1
    mode = record.get("mode") or 0
    outputs = sockets(record, "outputs")
    gives_model = bool(outputs) and outputs[0].get("type") in ("MODEL", "*")
    if not is_old(kind):
        into = (link for link in level.links if key is not None and link["target_id"] == key)
        sources = {str(number): origin_of(link) for number, link in enumerate(into)}
        return Node((place, key) if key is None else key, kind, None, {}, sources, mode, gives_model)
    row = ROWS[kind]
    given = ui_graph.values(record, [*(widget.name for widget in row.widgets), NUMBERS_ROW])
    has_old_numbers = given.pop(NUMBERS_ROW, "") == OLD_NUMBERS
    sources = {name: origin_of(link) for name, link in level.links_to(record).items()}
    whys = {_GROUPED: level.grouped, _SHOWN: str(key) in shown, _NAMELESS: key is None, _TWICE: twice}
    whys |= {HELD_BY_NUMBERS: has_old_numbers}
    held = next((why for why, holds in whys.items() if holds), "")
    unique = (place, key) if key is None or twice else key
    return Node(unique, kind, kind, values_of(row, given), sources, mode, gives_model, held)


def origin_of(link: Any) -> Source:
    """The output that a link comes from."""
    return Source(link["origin_id"], link["origin_slot"])


def _numbers(graph: Record, what: str) -> list[int]:
    """What a file itself says is the highest number."""
    state = graph.get("state") if isinstance(graph.get("state"), dict) else {}
    return [0, _number(graph.get(f"last_{what}_id")), _number((state or {}).get(f"last{what.capitalize()}Id"))]


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
