"""Graphs and prompts with nodes of IPAdapter Plus in the shapes of other times, made those of today.

Only what differs is changed, and only on nodes of the tables; a line says what. Words of other times stay, as the nodes
read them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .signatures import MENU, OLD_ENCODER, OTHER_IPADAPTER, OTHER_SHAPES, SIGNATURES, Input, Signature
from .ui_graph import Level, Node, input_names, is_missing, levels, sockets
from .words import NUMBERS

_ALL = SIGNATURES | OTHER_SHAPES

_OTHERS: dict[str, str] = {"IPAdapterEncoder": OLD_ENCODER, "IPAdapter": OTHER_IPADAPTER}
"""Ids that two nodes had: the row of SIGNATURES and the row of OTHER_SHAPES."""

_RENAMED: dict[str, dict[str, str]] = {
    OLD_ENCODER: {"image": "image_1", "plus": "ipadapter_plus"},
    "IPAdapterApply": {"mask": "attn_mask"},
}
"""Inputs that had another name in the first days of a node."""

_KINDS: dict[str, tuple[type, ...]] = {
    "FLOAT": (int, float),
    "INT": (int, float),
    "BOOLEAN": (bool,),
    "STRING": (str,),
    MENU: (str,),
}


def normalise_graph(graph: Any) -> list[str]:
    """Bring a graph that the editor saved into today's shape, in place; a line for each thing that was changed."""
    return [line for level in levels(graph) for node in level.nodes for line in _normalise_node(level, node)]


def normalise_prompt(prompt: Any) -> list[str]:
    """Bring a prompt for the API into today's shape, in place; a line for each thing that was changed."""
    calls = prompt.items() if isinstance(prompt, dict) else ()
    return [line for key, call in calls if isinstance(call, dict) for line in _normalise_call(key, call)]


def _normalise_node(level: Level, node: Node) -> list[str]:
    before = node["type"]
    if before not in _ALL:
        return []
    node["type"] = after = _node_of(before, _names(node), node.get("widgets_values"))
    changes = [*([] if after == before else [f"read as {after}"]), *_rename_sockets(node, _RENAMED.get(after, {}))]
    changes += _fit_values(node, _ALL[after])
    changes += _order_sockets(level, node, _ALL[after])
    return _lines(before, level.key(node), changes)


def _normalise_call(key: Any, call: dict[str, Any]) -> list[str]:
    before, inputs = call.get("class_type"), call.get("inputs")
    if not isinstance(before, str) or before not in _ALL or not isinstance(inputs, dict):
        return []
    call["class_type"] = after = _node_of(before, inputs, None)
    changes = [] if after == before else [f"read as {after}"]
    for old, new in _RENAMED.get(after, {}).items():
        if old in inputs and new not in inputs:
            inputs[new] = inputs.pop(old)
            changes.append(f"{old} is {new}")
    changes += _complete(inputs, _ALL[after])
    return _lines(before, key, changes)


def _lines(node: str, key: Any, changes: Iterable[str]) -> list[str]:
    return [f"{node} (node {key}): {change}" for change in changes]


def _node_of(node: str, names: Iterable[str], saved: Any) -> str:
    """The row that a node is of: told by the names that one of the two alone has, then by its values."""
    if node not in _OTHERS:
        return node
    today, other = SIGNATURES[node], OTHER_SHAPES[_OTHERS[node]]
    todays, others = _names_of(today), _names_of(other) | set(_RENAMED.get(_OTHERS[node], {}))
    given = set(names)
    more = len(given & (others - todays)) - len(given & (todays - others))
    if not more and isinstance(saved, list):
        more = _fits(saved, other) - _fits(saved, today)
    return _OTHERS[node] if more > 0 else node


def _names_of(signature: Signature) -> set[str]:
    return {given.name for given in signature.inputs}


def _names(node: Node) -> list[str]:
    saved = node.get("widgets_values")
    return [*input_names(node), *(saved if isinstance(saved, dict) else ())]


def _fits(saved: Sequence[Any], signature: Signature) -> bool:
    """Whether values can be those of the node's widgets."""
    return all(_can_be(given, value) for given, value in zip(signature.widgets, saved, strict=False))


def _can_be(given: Input, value: Any) -> bool:
    expected = _KINDS[given.type]
    return is_missing(value) or (isinstance(value, expected) and (bool in expected or not isinstance(value, bool)))


def _rename_sockets(node: Node, names: Mapping[str, str]) -> list[str]:
    renamed = [given for given in sockets(node, "inputs") if given.get("name") in names]
    changes = [f"{given['name']} is {names[given['name']]}" for given in renamed]
    for given in renamed:
        given["name"] = names[given["name"]]
    return changes


def _fit_values(node: Node, signature: Signature) -> list[str]:
    """Make the values of a node a list with a value for each widget."""
    saved, widgets = node.get("widgets_values"), signature.widgets
    if isinstance(saved, dict):
        node["widgets_values"] = values = [saved.get(given.name) for given in widgets]
        return ["values put in order", *_fill(values, widgets)]
    if not isinstance(saved, list):
        return []
    extra = [value for value in saved[len(widgets) :] if not _is_of_row(value)]
    values = [*saved[: len(widgets)], *(value for value in saved[len(widgets) :] if _is_of_row(value))]
    changes = [f"left out {value!r}, which no input takes" for value in extra] + _fill(values, widgets)
    if changes:
        node["widgets_values"] = values
    return changes


def _is_of_row(value: Any) -> bool:
    """Whether a value behind the table's is of the row that this package adds; that pack had none there."""
    return isinstance(value, str) and value in NUMBERS


def _fill(values: list[Any], widgets: Sequence[Input]) -> list[str]:
    """Put defaults into a list of values where it has none, as far as there are defaults."""
    changes = []
    for place, given in enumerate(widgets):
        if place < len(values) and not is_missing(values[place]):
            continue
        if given.default is None and place >= len(values):
            break  # a file: the editor takes the first
        if given.default is not None:
            values[place : place + 1] = [given.default]
            changes.append(_default_line(given))
    return changes


def _default_line(given: Input) -> str:
    return f"{given.name} is {given.default!r}, its default"


def _complete(inputs: dict[str, Any], signature: Signature) -> list[str]:
    changes = []
    for given in signature.widgets:
        absent = given.name not in inputs
        if given.default is None or (absent and given.optional) or not is_missing(inputs.get(given.name)):
            continue
        inputs[given.name] = given.default
        changes.append(_default_line(given))
    return changes


def _order_sockets(level: Level, node: Node, signature: Signature) -> list[str]:
    """Bring the sockets of a node into the table's order, and their links with them; group nodes go by the order."""
    held, links = sockets(node, "inputs"), level.links_to(node)
    order = [given.name for given in signature.inputs if not given.is_widget]
    known = [place for place, given in enumerate(held) if given.get("name") in order]
    moved = sorted(known, key=lambda place: order.index(held[place]["name"]))
    if moved != known:
        node["inputs"] = [held[moved[known.index(place)] if place in known else place] for place in range(len(held))]
    return [*(["sockets put in order"] if moved != known else []), *_point_links(node, links)]


def _point_links(node: Node, links: Mapping[str, Any]) -> list[str]:
    """Let each link go to the slot of its input."""
    changes = []
    for slot, name in enumerate(input_names(node)):
        if name in links and links[name]["target_slot"] != slot:
            links[name]["target_slot"] = slot
            changes.append(f"the link to {name} goes to its socket")
    return changes
