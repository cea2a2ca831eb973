"""Levels of a graph of the editor, written: new nodes and links in place of old ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..compat.ui_graph import Level, sockets
from .decide import Decided
from .drawn import Record, draw, slot_of, widget_type
from .editor import Counters, origin_of
from .ours import ALL
from .placing import Ids, links_of, new_ids, where
from .sheet import ROWS, Key, Made, Part, Source

_FIELDS = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
_INPUTS = -10  # what links name the inputs of a subgraph
_REROUTE = "Reroute"
_OF_STATE = ("lastNodeId", "lastLinkId")  # counters of subgraphs


def write(level: Level, shaped: Level, decided: Decided, counters: Counters) -> None:
    """Put the new nodes in place of the old ones. shaped: the same level with old nodes in today's shape."""
    ids = new_ids(decided.plans, counters.next_node)
    if decided.plans:
        _Writing(level, shaped, decided, ids, counters).write()


class _Wanted(NamedTuple):
    """A link into a new node: of which old node, part and input, and from where."""

    owner: Key
    part: Part
    name: str
    given: Source | Made


class _Writing:
    """One level while it is written."""

    def __init__(self, level: Level, shaped: Level, decided: Decided, ids: Ids, counters: Counters) -> None:
        self.level, self.plans, self.ids, self.counters = level, decided.plans, ids, counters
        self.old = {level.key(node): node for node in level.nodes if level.key(node) in self.plans}
        self.types = {node["id"]: node["type"] for node in shaped.nodes if node.get("id") in self.plans}
        self.spare = _spare(shaped, set(self.plans))
        self.before = {link["id"]: origin_of(link) for link in level.links}

    def write(self) -> None:
        links = self._kept_links()
        into: dict[tuple[Key, str], dict[str, int]] = {}
        added = []
        for wanted in self._wanted():
            source = where(wanted.given, self.plans, self.ids)
            if source is not None:
                number = self._number(wanted)
                into.setdefault((wanted.owner, wanted.part.name), {})[wanted.name] = number
                added.append((number, source, wanted))
        nodes = self._nodes(into)
        records = [self._record(number, source, wanted, into) for number, source, wanted in added]
        self.level.content["links"] = [*links, *records]
        self.level.content["nodes"] = nodes
        self._retype()
        self._mend_outputs()
        _prune(self.level.content, set(self.before) - {link["id"] for link in self.level.links})
        _raise_counters(self.level.content, self.counters)

    def _kept_links(self) -> list[Any]:
        """The links that do not lead into old nodes, from where their outputs are now."""
        kept = []
        for link in self.level.links:
            if link["target_id"] in self.plans:
                continue
            source = where(origin_of(link), self.plans, self.ids)
            if source is not None:
                if source != origin_of(link):
                    link["origin_id"], link["origin_slot"] = source
                kept.append(link.record)
        return kept

    def _wanted(self) -> Iterator[_Wanted]:
        for owner, plan in self.plans.items():
            for part in plan.parts:
                yield from (_Wanted(owner, part, name, given) for name, given in links_of(part).items())

    def _number(self, wanted: _Wanted) -> int:
        """The number of the old link that a new one replaces, or a new number."""
        spare = self.spare.get((wanted.owner, wanted.given), [])
        return spare.pop() if spare else self.counters.next_link()

    def _record(
        self, number: int, source: Source, wanted: _Wanted, into: Mapping[tuple[Key, str], Mapping[str, int]]
    ) -> Any:
        key = (wanted.owner, wanted.part.name)
        slot = slot_of(ALL[wanted.part.node], into[key], wanted.name)
        values = (number, *source, self.ids[key], slot, _type_of(wanted))
        before = next((link.record for link in self.level.links if link["id"] == number), None)
        if isinstance(before, dict):
            return before | dict(zip(_FIELDS, values, strict=True))
        as_objects = any(isinstance(link.record, dict) for link in self.level.links)
        return dict(zip(_FIELDS, values, strict=True)) if as_objects else list(values)

    def _nodes(self, into: Mapping[tuple[Key, str], Mapping[str, int]]) -> list[Any]:
        nodes = []
        for node in self.level.content["nodes"]:
            key = self.level.key(node) if isinstance(node, dict) else None
            if key is None or self.old.get(key) is not node:
                nodes.append(node)
                continue
            parts = self.plans[key].parts
            links = [into.get((key, part.name), {}) for part in parts]
            nodes += draw(
                parts, self.old[key], ROWS[self.types[key]], [self.ids[key, part.name] for part in parts], links
            )
        return nodes

    def _retype(self) -> None:
        """Let links from new nodes, and Reroutes behind them, have the type of what they carry now."""
        new = {node["id"]: node for node in self.level.nodes if node.get("id") in self.ids.values()}
        known = {(key, slot): out["type"] for key, node in new.items() for slot, out in enumerate(node["outputs"])}
        reroutes = {self.level.key(node): node for node in self.level.nodes if node["type"] == _REROUTE}
        for _ in range(len(reroutes) + 1):
            for link in self.level.links:
                kind = known.get(origin_of(link))
                if kind is None or link["target_id"] in new:
                    continue
                link["type"] = kind
                target = reroutes.get(link["target_id"])
                if target is not None:
                    known[link["target_id"], 0] = kind
                    _rename_output(target, kind)

    def _mend_outputs(self) -> None:
        """Let outputs name the links that they have now, where these are others."""
        after: dict[Source, list[Any]] = {}
        for link in self.level.links:
            after.setdefault(origin_of(link), []).append(link["id"])
        changed = {
            source
            for number, source in {**self.before, **{link["id"]: origin_of(link) for link in self.level.links}}.items()
            if self.before.get(number) != source or number not in after.get(source, [])
        }
        changed |= {source for number, source in self.before.items() if number not in after.get(source, [])}
        for node in self.level.nodes:
            for slot, output in enumerate(sockets(node, "outputs")):
                source = Source(self.level.key(node), slot)
                if source in changed or source.node in self.ids.values():
                    output["links"] = _merged(output.get("links"), after.get(source, []))
        for slot, given in enumerate(self.level.content.get("inputs") or []):
            source = Source(_INPUTS, slot)
            if source in changed and isinstance(given, dict):
                given["linkIds"] = _merged(given.get("linkIds"), after.get(source, []))


def _spare(level: Level, plans: set[Key]) -> dict[tuple[Key, Any], list[int]]:
    """Numbers of the links into old nodes, by the node and where they come from."""
    found: dict[tuple[Key, Any], list[int]] = {}
    for node in level.nodes:
        if node.get("id") in plans:
            for link in level.links_to(node).values():
                found.setdefault((node["id"], origin_of(link)), []).append(link["id"])
    return found


def _type_of(wanted: _Wanted) -> str:
    ours = ALL[wanted.part.node]
    sockets_of = {socket.name: socket.type for socket in ours.sockets}
    return sockets_of.get(wanted.name) or widget_type(ours.widgets[wanted.name])


def _rename_output(reroute: Record, kind: str) -> None:
    for output in sockets(reroute, "outputs"):
        if output.get("name") == output.get("type"):
            output["name"] = kind
        output["type"] = kind


def _merged(before: Any, now: list[Any]) -> list[Any]:
    """The links of an output in their order, new ones last."""
    kept = [number for number in before if number in now] if isinstance(before, list) else []
    return kept + [number for number in now if number not in kept]


def _prune(content: Record, gone: set[Any]) -> None:
    """Take links that are no more out of what else names them: points on links, and ends that hang loose."""
    extra = content.get("extra") if isinstance(content.get("extra"), dict) else {}
    for holder in (content, extra or {}):
        for point in holder.get("reroutes") or []:
            if isinstance(point, dict) and isinstance(point.get("linkIds"), list):
                point["linkIds"] = [number for number in point["linkIds"] if number not in gone]
        if holder.get("linkExtensions"):
            holder["linkExtensions"] = [one for one in holder["linkExtensions"] if one.get("id") not in gone]


def _raise_counters(content: Record, counters: Counters) -> None:
    for holder, names in ((content, ("last_node_id", "last_link_id")), (content.get("state"), _OF_STATE)):
        for name, value in zip(names, (counters.node, counters.link), strict=True):
            if isinstance(holder, dict) and isinstance(holder.get(name), int):
                holder[name] = max(holder[name], value)
