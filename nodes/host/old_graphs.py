"""Graphs and prompts of other times that come to the server: made those of today before they are checked."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from aiohttp import web
from server import PromptServer

from ...ip_adapter_core.compat.shapes import normalise_graph, normalise_prompt

ROUTE = "/ip_adapter/old_graph"
"""Where the editor sends a graph that it opens."""

_log = logging.getLogger(__name__)


def register(holds: Callable[[], bool]) -> None:
    """Let the running server bring prompts, and graphs that the editor opens, into today's shape.

    holds: whether the ids of the old nodes are this package's; else everything is left as it is.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return

    async def answer(request: web.Request) -> web.Response:
        return await _answer(request, holds)

    server.add_on_prompt_handler(lambda sent: _read_prompt(sent, holds))
    server.routes.post(ROUTE)(answer)


def _read_prompt(sent: Any, holds: Callable[[], bool]) -> Any:
    """What was posted, with a prompt of today's shape; as it came where that fails."""
    prompt = sent.get("prompt") if isinstance(sent, dict) else None
    changed, lines = _changed(normalise_prompt, prompt, holds)
    return {**sent, "prompt": changed} if lines else sent


async def _answer(request: web.Request, holds: Callable[[], bool]) -> web.Response:
    """The graph of a request in today's shape, and a line for each thing that was changed."""
    try:
        graph = await request.json()
    except ValueError:
        return web.json_response({"error": "Send a graph as JSON; found something else."}, status=400)
    changed, lines = _changed(normalise_graph, graph, holds)
    return web.json_response({"graph": changed, "lines": lines})


def _changed(change: Callable[[Any], list[str]], given: Any, holds: Callable[[], bool]) -> tuple[Any, list[str]]:
    """A changed copy, and what was changed. Files of strangers may hold anything: no error of this leaves it."""
    try:
        if not holds():
            return given, []
        copy = deepcopy(given)
        lines = change(copy)
    except Exception:
        _log.exception("Report this: a graph of IPAdapter Plus could not be brought into today's shape. It is left.")
        return given, []
    for line in lines:
        _log.info(line)
    return copy, lines
