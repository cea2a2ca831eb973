"""The running server: which node ids are free, what the user has set, what requests bring, and texts shown on the node
that runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths
from aiohttp import web
from comfy_execution.utils import get_executing_context
from server import PromptServer

import nodes

_log = logging.getLogger(__name__)

_FOLDER = Path(__file__).parents[2].name
_SETTINGS = Path("default", "comfy.settings.json")  # of the user that a server has if nobody made others


def take_ids_at_start(pack: str, classes: Mapping[str, type], names: Mapping[str, str]) -> None:
    """Register nodes under ids of another pack once all packs are loaded, if no other pack has any of them.

    pack: its name. names: as people see the nodes, by id.
    """

    async def take(app: Any) -> None:
        taken = [node for node in classes if node in nodes.NODE_CLASS_MAPPINGS]
        if taken:
            _log.info("Another pack has %s: the ids of %s are left to it.", ", ".join(taken), pack)
            return
        for node, made in classes.items():
            made.RELATIVE_PYTHON_MODULE = f"custom_nodes.{_FOLDER}"  # type: ignore[attr-defined]
            nodes.NODE_CLASS_MAPPINGS[node] = made
            nodes.NODE_DISPLAY_NAME_MAPPINGS[node] = names[node]

    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.app.on_startup.append(take)


def holds(node: str, made: type) -> bool:
    """Whether an id is this class's on the running server."""
    return nodes.NODE_CLASS_MAPPINGS.get(node) is made


def setting(name: str, default: Any) -> Any:
    """What the user has set in ComfyUI's settings dialog."""
    try:
        stored = json.loads(Path(folder_paths.get_user_directory(), _SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default
    return stored.get(name, default) if isinstance(stored, dict) else default


async def sent_json(request: web.Request) -> Any:
    """The graph that a request brings. Raises ValueError for what is no JSON."""
    try:
        return await request.json()
    except (ValueError, RecursionError):
        raise ValueError("Send a graph as JSON; found something else.") from None


def say(text: str) -> None:
    """Log a text, and show it on the node that runs."""
    _log.info(text)
    show(text)


def show(text: str) -> None:
    """Show a text on the node that runs."""
    running, server = get_executing_context(), getattr(PromptServer, "instance", None)
    if running is not None and server is not None:
        server.send_progress_text(text, running.node_id)
