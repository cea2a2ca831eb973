"""The demo's checkpoints, ControlNet, LoRA and face networks: in the lists once a graph names them, or as users wish.

Their names stay valid wherever they stand: they are looked for in what the editor opens and in every prompt.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import folder_paths
from aiohttp import web
from server import PromptServer

from .server import sent_json, setting
from .small_world import ROOT

ROUTE = "/ip_adapter/demo_files"
"""Where the editor sends a graph before it opens it."""

FOLDERS = ("checkpoints", "controlnet", "loras", "insightface")
"""The host's kinds of model files that the demo shows in its lists; its adapters and its encoder are in `files`."""

_SETTING, _ALWAYS = "IPAdapter.demo_models", "always"


def register() -> None:
    """Let the running server show the demo's files when a graph names them; at once where the user wants it."""
    if setting(_SETTING, "") == _ALWAYS:
        show()
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.add_on_prompt_handler(_read_prompt)
        server.routes.post(ROUTE)(_answer)


def show() -> None:
    """Let the host look into the folders of the demo."""
    for kind in FOLDERS:
        folder_paths.add_model_folder_path(kind, str(ROOT / kind))


def names() -> set[str]:
    """Those of the demo's files that are shown on demand."""
    return {name for kind in FOLDERS if (ROOT / kind).is_dir() for name in os.listdir(ROOT / kind)}


def show_named(graph: Any) -> bool:
    """Show the demo's files if a graph or prompt names one of them, and say whether it does."""
    named = not names().isdisjoint(_texts(graph))
    if named:
        show()
    return named


def _read_prompt(sent: Any) -> Any:
    show_named(sent)
    return sent


async def _answer(request: web.Request) -> web.Response:
    """Whether a graph names files of the demo, which are shown now; status 400 for what is no graph."""
    try:
        return web.json_response({"named": show_named(await sent_json(request))})
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, (dict, list)):
            left += part.values() if isinstance(part, dict) else part
