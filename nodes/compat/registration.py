"""Registering the old nodes where their ids are free, and what brings graphs of other times into their shape, or into
that of our own nodes."""

from __future__ import annotations

from ...ip_adapter_core.compat.words import OLD_NUMBERS
from ..host import convert_route, old_graphs, server
from .classes import CLASSES, OLD_NODES
from .numbers import chosen


def register() -> None:
    """Take the ids of each pack's nodes when the server starts, if no other pack has any of that pack's."""
    for pack, old in OLD_NODES.items():
        server.take_ids_at_start(pack, *old)
    convert_route.register(lambda: chosen(None) == OLD_NUMBERS)
    old_graphs.register(lambda: all(server.holds(node, made) for node, made in CLASSES.items()), _holds)


def _holds(node: str) -> bool:
    """Whether an id is that of an old node of this package."""
    return any(server.holds(node, old.classes[node]) for old in OLD_NODES.values() if node in old.classes)
