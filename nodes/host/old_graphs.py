"""Graphs and prompts of other times, and of other computers, that come to the server: made those of today and here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import deepcopy
from typing import Any, TypeVar

from aiohttp import web
from server import PromptServer

from ...ip_adapter_core.compat import file_names
from ...ip_adapter_core.compat.file_names import PLACES, Taken, take_files
from ...ip_adapter_core.compat.shapes import normalise_graph, normalise_prompt
from . import files, old_names, prompt_files
from .server import sent_json

ROUTE = "/ip_adapter/old_graph"
"""Where the editor sends a graph that it opens."""

T = TypeVar("T")
Holds = Callable[[], bool]
HoldsNode = Callable[[str], bool]

_OURS = "IPA_"
_CATEGORIES = {file_names.ADAPTER: files.ADAPTERS, file_names.ENCODER: files.ENCODERS}

_log = logging.getLogger(__name__)


def register(holds: Holds, holds_node: HoldsNode) -> None:
    """Let the running server bring prompts, and graphs that the editor opens, into today's shape.

    holds: whether the ids of IPAdapter Plus are this package's; else those are left as they are. holds_node: the same
    of one id of any old node.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:
        return

    async def answer(request: web.Request) -> web.Response:
        return await _answer(request, holds, holds_node)

    server.add_on_prompt_handler(lambda sent: _read_prompt(sent, holds))
    server.routes.post(ROUTE)(answer)


def _read_prompt(sent: Any, holds: Holds) -> Any:
    """What was posted, with a prompt of today's shape; as it came where that fails."""
    prompt = sent.get("prompt") if isinstance(sent, dict) else None
    changed, lines = _changed(normalise_prompt, prompt, holds)
    _say(lines)
    return {**sent, "prompt": changed} if lines else sent


async def _answer(request: web.Request, holds: Holds, holds_node: HoldsNode) -> web.Response:
    """The graph of a request in today's shape, with a line for each change, and with files that are here."""
    try:
        graph = await sent_json(request)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    shaped, lines = _changed(normalise_graph, graph, holds)
    named, taken = _changed(lambda graph: _take_files(graph, holds_node), shaped, lambda: True)
    _say([*lines, *(one.remark for one in taken)])
    return web.json_response({"graph": named, "lines": lines, "taken": [one._asdict() for one in taken]})


def _take_files(graph: Any, holds_node: HoldsNode) -> list[Taken]:
    places = {node: place for node, place in PLACES.items() if node.startswith(_OURS) or holds_node(node)}
    return take_files(graph, places, _find)


def _find(kind: str, name: str) -> tuple[str, str] | None:
    """The file here that a saved name means, and what is to be said of it."""
    if kind == file_names.FACES:
        return old_names.face_file(name)
    if kind == file_names.EMBEDS:
        return old_names.among(prompt_files.embeds_in_input(), name)
    if kind == file_names.INSTANTID:
        return old_names.instantid_file(name)
    try:
        return old_names.find(_CATEGORIES[kind], name)
    except ValueError:
        return None


def _changed(change: Callable[[Any], list[T]], given: Any, holds: Holds) -> tuple[Any, list[T]]:
    """A changed copy, and what was changed. Files of strangers may hold anything: no error of this leaves it."""
    try:
        if not holds():
            return given, []
        copy = deepcopy(given)
        return copy, change(copy)
    except Exception:
        _log.exception("Report this: a graph of IPAdapter Plus could not be brought into today's shape. It is left.")
        return given, []


def _say(lines: list[str]) -> None:
    for line in lines:
        _log.info(line)
