"""New nodes as the editor saves them: near the old one, as it was switched and coloured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..compat.signatures import Signature
from .ours import ALL, Ours
from .sheet import Part

_WIDTH, _ROW, _WIDGET, _TITLE, _GAP = 315, 20, 26, 30, 30  # pixels
_KEPT = ("flags", "order", "mode", "color", "bgcolor")
_TYPES = {bool: "BOOLEAN", int: "INT", float: "FLOAT", str: "STRING"}

Links = Mapping[str, int]
"""Ids of the links into a node, by the name of its input."""

Record = dict[str, Any]


def draw(parts: tuple[Part, ...], old: Record, row: Signature, ids: list[Any], links: list[Links]) -> list[Record]:
    """New nodes in place of an old one: the last where it was, the others below it. ids, links: of each part."""
    left, top = _pair(old.get("pos"))
    places: dict[str, list[float]] = {}
    for part in (parts[-1:] + parts[:-1]) if parts else ():
        places[part.name] = [left, top]
        top += _height(ALL[part.node]) + _TITLE + _GAP
    return [
        _node(part, old, key, into) | {"pos": places[part.name]} | (_title(old, row) if part is parts[-1] else {})
        for part, key, into in zip(parts, ids, links, strict=True)
    ]


def _node(part: Part, old: Record, key: Any, links: Links) -> Record:
    ours = ALL[part.node]
    values = [_value(part.inputs.get(name), default) for name, default in ours.widgets.items()]
    made = {"id": key, "type": part.node, "pos": [0, 0], "size": [_WIDTH, _height(ours)]}
    made |= {name: old[name] for name in _KEPT if name in old} | {"flags": dict(old.get("flags") or {})}
    return made | {
        "inputs": _inputs(ours, links),
        "outputs": [{"name": socket.name, "type": socket.type, "links": None} for socket in ours.outputs],
        "properties": {"Node name for S&R": part.node},
        "widgets_values": values,
    }


def _inputs(ours: Ours, links: Links) -> list[Record]:
    """All sockets; and those widgets that are linked, as sockets of widgets."""
    sockets = [{"name": socket.name, "type": socket.type, "link": links.get(socket.name)} for socket in ours.sockets]
    return sockets + [
        {"name": name, "type": widget_type(default), "widget": {"name": name}, "link": links[name]}
        for name, default in ours.widgets.items()
        if name in links
    ]


def slot_of(ours: Ours, links: Links, name: str) -> int:
    """The number of an input among a new node's inputs."""
    return [given["name"] for given in _inputs(ours, links)].index(name)


def widget_type(default: Any) -> str:
    """The type of a widget's socket."""
    return _TYPES[type(default)]


def _value(given: Any, default: Any) -> Any:
    return default if given is None or isinstance(given, tuple) else given


def _height(ours: Ours) -> int:
    return max(len(ours.sockets), len(ours.outputs)) * _ROW + len(ours.widgets) * _WIDGET + _ROW


def _pair(place: Any) -> tuple[float, float]:
    """Two numbers of a list, or of an object as older editors wrote it."""
    numbers = list(place.values()) if isinstance(place, dict) else place
    known = numbers if isinstance(numbers, list) else []
    first, second = (float(number) if isinstance(number, int | float) else 0.0 for number in (*known, 0, 0)[:2])
    return first, second


def _title(old: Record, row: Signature) -> Record:
    """A title that somebody gave to the old node."""
    title = old.get("title")
    return {"title": title} if title and title not in (row.name, old.get("type")) else {}
