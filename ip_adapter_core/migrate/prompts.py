"""Prompts of the API: nodes by id, with inputs that are values or links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from ..compat.words import NUMBERS_ROW, OLD_NUMBERS
from .decide import Decided
from .ours import ALL
from .placing import Ids, new_ids, where
from .sheet import HELD_BY_NUMBERS, ROWS, Key, Node, Part, Sheet, Source, is_old, values_of

_LINK = 2  # entries of a link: node and output

Prompt = dict[str, Any]


def is_prompt(graph: object) -> bool:
    """Whether JSON is a prompt of the API."""
    nodes = graph.values() if isinstance(graph, Mapping) else ()
    return bool(nodes) and all(isinstance(node, Mapping) and "class_type" in node for node in nodes)


def read(prompt: Mapping[str, Any]) -> Sheet:
    """What a prompt says; its old nodes are in today's shape."""
    nodes = {key: _node(key, node) for key, node in prompt.items()}
    givers = {
        str(source.node)
        for node in nodes.values()
        for name, source in node.sources.items()
        if name == "model" and source.slot == 0
    }
    return Sheet({key: _with_model(node, key in givers) for key, node in nodes.items()})


def write(prompt: Mapping[str, Any], decided: Decided) -> Prompt:
    """The prompt with the new nodes in place of the old ones."""
    plans = decided.plans
    ids = new_ids(plans, _fresh(prompt).__next__)
    written: Prompt = {}
    for key, node in prompt.items():
        if key not in plans:
            written[key] = _relinked(node, decided, ids)
            continue
        for part in plans[key].parts:
            written[str(ids[key, part.name])] = _made(part, node, decided, ids)
    return written


def _node(key: str, node: Mapping[str, Any]) -> Node:
    inputs = node.get("inputs") or {}
    sources = {name: Source(str(value[0]), int(value[1])) for name, value in inputs.items() if _is_link(value)}
    kind = str(node["class_type"])
    if not is_old(kind):
        return Node(key, kind, sources=sources)
    given = {name: value for name, value in inputs.items() if name not in sources}
    held = HELD_BY_NUMBERS if given.get(NUMBERS_ROW) == OLD_NUMBERS else ""
    return Node(key, kind, kind, values_of(ROWS[kind], given), sources, held=held)


def _with_model(node: Node, gives_model: bool) -> Node:
    return replace(node, gives_model=gives_model)


def _is_link(value: object) -> bool:
    if not isinstance(value, list) or len(value) != _LINK:
        return False
    return isinstance(value[0], str | int) and isinstance(value[1], int)


def _fresh(prompt: Mapping[str, Any]) -> Any:
    numbers = [int(key) for key in prompt if str(key).isdecimal()]
    return (str(number) for number in count(max(numbers, default=0) + 1))


def _relinked(node: Mapping[str, Any], decided: Decided, ids: Ids) -> Any:
    """A node that stays, with its links to where their outputs are now."""
    inputs = node.get("inputs") or {}
    changed = {
        name: _link(Source(str(value[0]), value[1]), decided, ids)
        for name, value in inputs.items()
        if _is_link(value) and str(value[0]) in decided.plans
    }
    kept = {name: value for name, value in (inputs | changed).items() if value is not None or name not in changed}
    return {**node, "inputs": kept} if changed else node


def _made(part: Part, old: Mapping[str, Any], decided: Decided, ids: Ids) -> dict[str, Any]:
    row = ALL[part.node]
    linked = {name: _link(given, decided, ids) for name, given in part.inputs.items() if isinstance(given, tuple)}
    values = {name: given for name, given in part.inputs.items() if not isinstance(given, tuple)}
    given = row.widgets | {name: value for name, value in (values | linked).items() if value is not None}
    made: dict[str, Any] = {"class_type": part.node, "inputs": given}
    return made | ({"_meta": {"title": row.name}} if "_meta" in old else {})


def _link(output: Any, decided: Decided, ids: Ids) -> list[Key] | None:
    found = where(output, decided.plans, ids)
    return None if found is None else [found.node, found.slot]
