"""Where the editor sends a graph whose old nodes are to become those of this package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from server import PromptServer

from ...ip_adapter_core.migrate.convert import convert
from ...ip_adapter_core.migrate.sheet import OLD, RIGHT, Way
from .server import sent_json

ROUTE = "/ip_adapter/convert"


def register(has_old_numbers: Callable[[], bool] = lambda: False) -> None:
    """Let the running server convert graphs: JSON in; the graph, the report and its summary out.

    has_old_numbers: whether old nodes compute as the old pack did, so that ours are set to do the same.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return

    async def answer(request: web.Request) -> web.Response:
        return await _answer(request, OLD if has_old_numbers() else RIGHT)

    server.routes.post(ROUTE)(answer)


async def _answer(request: web.Request, way: Way) -> web.Response:
    """The converted graph; status 400 and a sentence for what is no graph."""
    try:
        converted = convert(_graph(await sent_json(request)), way)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    answer = {"graph": converted.graph, "lines": converted.lines, "summary": converted.summary()}
    return web.json_response(answer | {"converted": converted.converted})


def _graph(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError("Send a graph as a JSON object; found something else.")
    return given
