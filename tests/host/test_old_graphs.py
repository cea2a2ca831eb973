"""The server brings old prompts and graphs into today's shape, and hands on unchanged what it may not or cannot."""

import asyncio
import json
import logging
from collections.abc import Callable
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("comfy")
OLD = {"class_type": "IPAdapterEncoder", "inputs": {"clip_vision": ["1", 0], "image_1": ["2", 0]}}
GRAPH = {"nodes": [{"id": 3, "type": "IPAdapterEncoder", "widgets_values": [True, 0.1, 1, 1, 1, 1]}]}


class FakeServer:
    """What a server has for others: handlers of prompts, and routes."""

    def __init__(self) -> None:
        self.handlers: list[Callable[[Any], Any]] = []
        self.posted: dict[str, Callable[[Any], Any]] = {}
        self.routes = SimpleNamespace(post=lambda path: lambda answer: self.posted.setdefault(path, answer))
        self.add_on_prompt_handler = self.handlers.append

    def ask(self, body: str) -> tuple[int, Any]:
        """The status and the answer of our only route."""

        async def read() -> Any:
            return json.loads(body)

        (answer,) = self.posted.values()
        response = asyncio.run(answer(SimpleNamespace(json=read)))
        return response.status, json.loads(response.body)


Registered = Callable[[Callable[[], bool]], FakeServer]


@pytest.fixture
def registered(comfy: None, monkeypatch: pytest.MonkeyPatch) -> Registered:
    """A server on which the module was registered."""
    from server import PromptServer

    from comfyui_ip_adapter.nodes.host import old_graphs

    def register(holds: Callable[[], bool]) -> FakeServer:
        server = FakeServer()
        monkeypatch.setattr(PromptServer, "instance", server, raising=False)
        old_graphs.register(holds, lambda node: node in ("IPAdapterEncoder", "IPAdapterModelLoader") and holds())
        return server

    return register


def sent(call: Any = OLD) -> dict[str, Any]:
    return {"prompt": {"3": deepcopy(call)}, "client_id": "someone"}


def broken() -> bool:
    raise KeyError("ids")


def test_a_prompt_that_is_posted_is_made_todays_and_the_rest_of_the_request_stays(registered: Registered) -> None:
    (handler,) = registered(lambda: True).handlers
    given = sent()
    found = handler(given)
    assert found["prompt"]["3"]["class_type"] == "IPAdapterEncoder (before version 2)"
    assert found["client_id"] == "someone"
    assert given == sent()


def test_a_graph_is_answered_in_todays_shape_with_what_was_changed(registered: Registered) -> None:
    status, answer = registered(lambda: True).ask(json.dumps(GRAPH))
    assert status == 200
    assert answer["graph"]["nodes"][0]["type"] == "IPAdapterEncoder (before version 2)"
    assert len(answer["lines"]) == 1


@pytest.mark.parametrize("holds", [lambda: False, broken], ids=["another pack has the ids", "an error of ours"])
def test_where_it_may_not_or_cannot_everything_stays(registered: Registered, holds: Callable[[], bool]) -> None:
    server = registered(holds)
    assert server.handlers[0](sent()) == sent()
    assert server.ask(json.dumps(GRAPH)) == (200, {"graph": GRAPH, "lines": [], "taken": []})


@pytest.mark.parametrize("holds", [True, False])
def test_files_have_the_names_that_they_have_here_on_nodes_that_are_ours(
    registered: Registered, monkeypatch: pytest.MonkeyPatch, holds: bool
) -> None:
    from comfyui_ip_adapter.nodes.host import files

    monkeypatch.setattr(files, "names", lambda category: [f"{category}/a.safetensors"])
    kinds = ("IPAdapterModelLoader", "IPA_LoadAdapter", "IPA_LoadVision")
    nodes = [{"id": id, "type": kind, "widgets_values": ["elsewhere\\a.bin"]} for id, kind in enumerate(kinds)]
    _, answer = registered(lambda: holds).ask(json.dumps({"nodes": nodes}))
    here = ["ipadapter/a.safetensors", "ipadapter/a.safetensors", "clip_vision/a.safetensors"]
    saved = ["elsewhere\\a.bin"]
    expected = here if holds else saved + here[1:]
    assert [node["widgets_values"][0] for node in answer["graph"]["nodes"]] == expected
    assert [one["name"] for one in answer["taken"]] == expected[not holds :]


@pytest.mark.parametrize("holds", [True, False])
def test_instantids_file_is_found_among_those_alone_that_feed_a_controlnet(
    comfy: None, monkeypatch: pytest.MonkeyPatch, holds: bool
) -> None:
    """All its kind are called ip-adapter.bin, whatever they are."""
    from server import PromptServer

    from comfyui_ip_adapter.nodes.host import files, old_graphs

    feeds = {"flux/ip-adapter.bin": False, "instantid/ip-adapter.bin": True, "mine.safetensors": True}
    found = {name: SimpleNamespace(variant=SimpleNamespace(feeds_control=fits)) for name, fits in feeds.items()}
    monkeypatch.setattr(files, "adapters", lambda: found)
    server = FakeServer()
    monkeypatch.setattr(PromptServer, "instance", server, raising=False)
    old_graphs.register(lambda: False, lambda node: holds)
    names = ("ip-adapter.bin", "SDXL\\ip-adapter.bin", "gone.bin", "mine.safetensors")
    nodes = [{"id": id, "type": "InstantIDModelLoader", "widgets_values": [name]} for id, name in enumerate(names)]
    _, answer = server.ask(json.dumps({"nodes": nodes}))
    here = ["instantid/ip-adapter.bin"] * 3 + ["mine.safetensors"]
    assert [node["widgets_values"][0] for node in answer["graph"]["nodes"]] == (here if holds else [*names])


def test_an_error_of_ours_is_logged(registered: Registered, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        registered(broken).handlers[0](sent())
    assert "Report this" in caplog.text


@pytest.mark.parametrize("request_", [None, [], {}, {"prompt": None}, {"prompt": {"1": None}}])
def test_requests_of_any_kind_pass(registered: Registered, request_: Any) -> None:
    assert registered(lambda: True).handlers[0](request_) is request_


def test_what_is_no_json_is_refused_in_words(registered: Registered) -> None:
    status, answer = registered(lambda: True).ask("no graph")
    assert status == 400
    assert "Send a graph as JSON" in answer["error"]


def test_without_a_server_nothing_is_registered(comfy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from server import PromptServer

    from comfyui_ip_adapter.nodes.host import old_graphs

    monkeypatch.delattr(PromptServer, "instance", raising=False)
    old_graphs.register(lambda: True, lambda node: True)
    assert not hasattr(PromptServer, "instance")
