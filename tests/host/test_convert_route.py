"""The route that converts a graph of the editor."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from old_files import Described, prompt

pytestmark = pytest.mark.usefixtures("comfy")

GRAPH = prompt({1: Described("IPAdapterModelLoader", {"ipadapter_file": "a.bin"}), 2: Described("IPAdapterTiled")})

Ask = Callable[[str], tuple[int, Any]]


@pytest.fixture
def ask(comfy: None, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Sends a body to the route, and gives status and answer."""
    from server import PromptServer

    from comfyui_ip_adapter.nodes.host import convert_route

    posted: dict[str, Callable[[Any], Any]] = {}
    routes = SimpleNamespace(post=lambda path: lambda answer: posted.setdefault(path, answer))
    monkeypatch.setattr(PromptServer, "instance", SimpleNamespace(routes=routes), raising=False)
    convert_route.register()

    def send(body: str) -> tuple[int, Any]:
        async def read() -> Any:
            return json.loads(body)

        response = asyncio.run(posted[convert_route.ROUTE](SimpleNamespace(json=read)))
        return response.status, json.loads(response.body)

    return send


def test_a_graph_comes_back_converted_with_a_report(ask: Ask) -> None:
    status, answer = ask(json.dumps(GRAPH))
    assert status == 200
    assert answer["graph"]["1"]["class_type"] == "IPA_LoadAdapter"
    assert answer["summary"] == "1 of 2 IPAdapter Plus nodes converted, 1 stay as they are."
    assert (answer["converted"], len(answer["lines"])) == (1, 2)


@pytest.mark.parametrize("body", ["{", "[]", '{"nodes": 3}'])
def test_what_is_no_graph_is_told(ask: Ask, body: str) -> None:
    status, answer = ask(body)
    assert status == 400 and answer["error"]


def test_without_a_server_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from server import PromptServer

    from comfyui_ip_adapter.nodes.host import convert_route

    monkeypatch.setattr(PromptServer, "instance", None, raising=False)
    convert_route.register()
