"""Where the editor sends a graph whose old nodes are to become those of this package."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from server import PromptServer

from ...ip_adapter_core.migrate.convert import convert

ROUTE = "/ip_adapter/convert"


def register() -> None:
    """Let the running server convert graphs: JSON in; the graph, the report and its summary out."""
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.routes.post(ROUTE)(_answer)


async def _answer(request: web.Request) -> web.Response:
    """The converted graph; status 400 and a sentence for what is no graph."""
    try:
        converted = convert(_graph(await request.json()))
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    answer = {"graph": converted.graph, "lines": converted.lines, "summary": converted.summary()}
    return web.json_response(answer | {"converted": converted.converted})


def _graph(given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ValueError("Send a graph as a JSON object; found something else.")
    return given
