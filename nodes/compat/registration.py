"""Registering the old nodes where their ids are free, and what brings graphs of other times into their shape, or into
that of our own nodes."""

from __future__ import annotations

from ...ip_adapter_core.compat.words import OLD_NUMBERS
from ..host import convert_route, old_graphs, server
from .classes import CLASSES, NAMES
from .numbers import chosen


def register() -> None:
    """Take the ids of the old nodes when the server starts, if no other pack has any of them."""
    server.take_ids_at_start(CLASSES, NAMES)
    convert_route.register(lambda: chosen(None) == OLD_NUMBERS)
    old_graphs.register(lambda: all(server.holds(node, made) for node, made in CLASSES.items()))
