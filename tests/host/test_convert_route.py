"""The route that converts a graph of the editor."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.signatures import SIGNATURES
from old_files import Described, Out, prompt, widgets

pytestmark = pytest.mark.usefixtures("comfy")

GRAPH = prompt({1: Described("IPAdapterModelLoader", {"ipadapter_file": "a.bin"}), 2: Described("IPAdapterTiled")})

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def ask(comfy: None, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Sends a body to the route, and gives status and answer."""
    from server import PromptServer

    from comfyui_ip_adapter.nodes.host import convert_route

    posted: dict[str, Callable[[Any], Any]] = {}
    routes = SimpleNamespace(post=lambda path: lambda answer: posted.setdefault(path, answer))
    monkeypatch.setattr(PromptServer, "instance", SimpleNamespace(routes=routes), raising=False)

    def send(body: str, has_old_numbers: bool = False) -> tuple[int, Any]:
        posted.clear()
        convert_route.register(lambda: has_old_numbers)

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


@pytest.mark.parametrize("has_old_numbers", [True, False])
def test_our_nodes_have_the_numbers_that_the_server_is_set_to(ask: Ask, has_old_numbers: bool) -> None:
    sockets = {"model": Out(1), "ipadapter": Out(2), "image": Out(3), "clip_vision": Out(4)}
    kinds = ("CheckpointLoaderSimple", "IPAdapterModelLoader", "LoadImage", "CLIPVisionLoader")
    graph = {number: Described(kind) for number, kind in enumerate(kinds, 1)}
    graph |= {2: Described(kinds[1], {"ipadapter_file": "a.bin"})}
    graph |= {5: Described("IPAdapterAdvanced", {**widgets(SIGNATURES["IPAdapterAdvanced"]), **sockets})}
    _, answer = ask(json.dumps(prompt(graph)), has_old_numbers)
    assert answer["graph"]["5"]["inputs"]["skip_middle_block"] is has_old_numbers


UNREADABLE = '{"1": {"class_type": "IPAdapterModelLoader", "inputs": [1]}}'


@pytest.mark.parametrize("body", ["{", "[]", '{"nodes": 3}', UNREADABLE, "[" * 100_000])
def test_what_is_no_graph_is_told(ask: Ask, body: str) -> None:
    status, answer = ask(body)
    assert status == 400 and answer["error"]


def test_without_a_server_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from server import PromptServer

    from comfyui_ip_adapter.nodes.host import convert_route

    monkeypatch.setattr(PromptServer, "instance", None, raising=False)
    convert_route.register()
