"""Beside another pack that has ids of IPAdapter Plus: they are its own, none of the others is taken, ours work."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.signatures import OTHER_SHAPES, SIGNATURES
from live.beside import THEIRS, place, with_an_encoder
from live.graphs import Graph, Node, text_to_image
from live.models import fabricate_models
from live.prompting import REFERENCE, Prompted, load, picture, stock
from live.server import Server
from live.specimens import named

FOLDERS = {"loaded before ours": ("a-pack", True), "loaded after ours": ("z-pack", False)}
"""The folder that has the other pack, by name before or after ours, and whether its place comes first."""


@pytest.fixture(scope="module", params=FOLDERS)
def beside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with our package and the other pack."""
    base = tmp_path_factory.mktemp("beside")
    folder, first = FOLDERS[request.param]
    with Server(base, options=place(base, folder, first)) as server:
        fabricate_models(base / "models")
        yield stock(server)


def test_the_other_packs_ids_are_its_own_in_whatever_order_they_load(
    beside: Server, request: pytest.FixtureRequest
) -> None:
    about = beside.object_info()
    folder, first = FOLDERS[request.node.callspec.params["beside"]]
    assert {about[node]["python_module"] for node in THEIRS} == {f"custom_nodes.{folder}"}
    assert {about[node]["description"] for node in THEIRS} == {"the other pack's"}
    order = list(about)
    assert (order.index("IPAdapterAdvanced") < order.index("IPA_Apply")) == first


def test_none_of_the_other_old_ids_is_taken_and_the_log_says_so(beside: Server) -> None:
    assert beside.object_info().keys() & {*SIGNATURES, *OTHER_SHAPES} == THEIRS
    (line,) = [line for line in beside.log().splitlines() if "Another pack has" in line]
    assert all(node in line for node in THEIRS)


def test_our_own_nodes_make_the_same_picture(beside: Server, prompted: np.ndarray) -> None:
    assert np.array_equal(picture(beside, Prompted()), prompted)


def test_its_nodes_run_and_can_call_our_encoder(beside: Server, plain: np.ndarray) -> None:
    result = beside.run(text_to_image(its_nodes))
    assert result.outputs["advanced"]["said"] == ["the other pack's the other pack's adapter, 64 wide"]
    assert np.array_equal(result.image(), plain)


def its_nodes(graph: Graph, model: Any) -> Node:
    """Its loader and its apply node, with our encoder."""
    adapter = graph.add("IPAdapterModelLoader", ipadapter_file="its file")
    return graph.add("IPAdapterAdvanced", "advanced", model=model, ipadapter=adapter, clip_vision=our_encoder(graph))


def our_encoder(graph: Graph) -> Node:
    return graph.add("IPA_LoadVision", file=named("tower.safetensors"), activation="auto")


def test_its_prompts_stay_as_they_are(beside: Server) -> None:
    graph, weights = Graph(), {f"weight_{number}": 1.0 for number in (1, 2, 3, 4)}
    pictures = {"clip_vision": our_encoder(graph), "image_1": load(graph, REFERENCE)}
    graph.add("IPAdapterEncoder", "encoder", ipadapter_plus=True, noise=0.1, **weights, **pictures)
    names = "clip_vision, image_1, ipadapter_plus, noise, weight_1, weight_2, weight_3, weight_4"
    assert beside.run(graph).outputs["encoder"]["said"] == [f"the other pack's {names}"]


def test_its_graphs_stay_as_they_are(beside: Server) -> None:
    graph = with_an_encoder()
    assert beside.post("/ip_adapter/old_graph", graph) == {"graph": graph, "lines": [], "taken": []}


def test_the_same_graphs_are_changed_where_the_ids_are_ours(stocked: Server) -> None:
    changed = stocked.post("/ip_adapter/old_graph", with_an_encoder())
    assert changed["graph"]["nodes"][0]["type"] == "IPAdapterEncoder (before version 2)"
