"""On a machine without models, nobody's list shows the demo's until a graph of the demo runs."""

from collections.abc import Iterator
from typing import Any

import pytest

from live.server import PACKS, Server
from live.ui_graphs import place, read, to_prompt

NAME = "comfyui-ip-adapter"
KINDS = ("checkpoints", "controlnet", "loras")
FIRST = "small_world_image_prompt_in_one_node"


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, with this package alone and no models."""
    with Server(tmp_path_factory.mktemp("new"), packs={NAME: PACKS[NAME]}) as server:
        yield server


def listed(server: Server, kind: str) -> list[str]:
    """What the model library and other packs see of a kind."""
    names: list[str] = server.get(f"/models/{kind}")
    return names


def offered(server: Server, node: str) -> list[str]:
    """The files in the first menu of a loader."""
    kind, *rest = next(iter(server.object_info(node)[node]["input"]["required"].values()))
    names: list[str] = rest[0]["options"] if kind == "COMBO" else kind
    return names


def test_lists_are_clean_until_a_graph_of_the_demo_runs(new: Server) -> None:
    assert [name for kind in (*KINDS, "clip_vision") for name in listed(new, kind)] == []
    assert offered(new, "CheckpointLoaderSimple") == []
    assert all(name.startswith("small_world_") and "/" not in name for name in listed(new, "ipadapter"))
    described: dict[str, Any] = new.object_info()
    assert new.run(to_prompt(read(place(FIRST)), described)).outputs
    assert offered(new, "CheckpointLoaderSimple") == ["small_world.safetensors", "small_world_faces.safetensors"]


def test_the_editor_may_ask_for_them(new: Server) -> None:
    assert new.post("/ip_adapter/demo_files", {"nodes": []}) == {"named": False}
    assert new.post("/ip_adapter/demo_files", ["small_world_outlines.safetensors"]) == {"named": True}
    assert listed(new, "controlnet") == ["small_world_outlines.safetensors"]


def test_the_hosts_loader_of_encoders_never_offers_the_one_it_cannot_read(new: Server) -> None:
    assert offered(new, "CLIPVisionLoader") == []
    assert offered(new, "IPA_LoadVision") == ["small_world_clip.safetensors"]
