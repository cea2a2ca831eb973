"""Registering the old nodes, and bringing graphs of other times into their shape, where their ids are free."""

from __future__ import annotations

from ..host import old_graphs, server
from .classes import CLASSES, NAMES


def register() -> None:
    """Take the ids of the old nodes when the server starts, if no other pack has any of them."""
    server.take_ids_at_start(CLASSES, NAMES)
    old_graphs.register(lambda: all(server.holds(node, made) for node, made in CLASSES.items()))
