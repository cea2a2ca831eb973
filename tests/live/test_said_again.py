"""What a node says stays: run again, with every result from the cache, it tells the editor the same."""

from typing import Any

import pytest

from live.graphs import Graph, Node, text_to_image
from live.listening import Told, run_listening
from live.prompting import OTHER, REFERENCE, Prompted, Simply, load
from live.server import Server

SPAN = {"start": 0.0, "end": 1.0}


@pytest.fixture(scope="module", autouse=True)
def host_that_says_again(stocked: Server) -> None:
    """Hosts before 0.24 send nothing of a cached node that no output node is."""
    if "has_intermediate_output" not in stocked.object_info("IPA_Encode")["IPA_Encode"]:
        pytest.skip("This ComfyUI sends nothing again of nodes in the middle of a graph.")


def masked(graph: Graph, model: Any) -> Node:
    """With a mask that is black, of which the node says so."""
    applied = Prompted()(graph, model)
    graph["apply"]["inputs"]["mask"] = graph.add("SolidMask", value=0.0, width=8, height=8)[0]
    return applied


def two(graph: Graph, model: Any) -> Node:
    images = {"style_image": load(graph, REFERENCE), "composition_image": load(graph, OTHER)}
    weights = {"style_weight": 0.5, "composition_weight": 0.5}
    return graph.add("IPA_StyleComposition", "two", model=model, **images, **weights, **SPAN)


def parts(graph: Graph, model: Any) -> Node:
    """The longer way, by the loader that finds files."""
    found = graph.add("IPA_AutoLoad", "found", model=model, kind="any")
    image = load(graph, REFERENCE)
    encoded = graph.add("IPA_Encode", "encode", ip_adapter=found, clip_vision=found[1], image=image, fit="pad")
    return graph.add("IPA_Apply", "apply", model=model, image_prompt=encoded, weight=0.5, **SPAN)


SAYS: dict[str, tuple[Any, dict[str, set[str]]]] = {
    "loaders, a picture and a notice": (
        masked,
        {"adapter": {"text"}, "tower": {"text"}, "encode": {"images"}, "apply": {"text"}},
    ),
    "the loader that finds files": (parts, {"found": {"text"}, "encode": {"images"}}),
    "IP-Adapter": (Simply(), {"simple": {"text", "images"}}),
    "Style and Composition": (two, {"two": {"text", "images"}}),
}
"""A model hook -> which of its nodes say what."""


@pytest.mark.parametrize("case", SAYS)
def test_a_node_says_the_same_when_its_result_comes_from_the_cache(stocked: Server, case: str) -> None:
    hook, says = SAYS[case]
    graph = text_to_image(hook)
    first, again = (ours(run_listening(stocked, graph), says) for _ in range(2))
    assert {node: set(shown) & {"text", "images"} for node, shown in first.items()} == says
    assert again == first
    assert stocked.run(graph).cached >= says.keys(), "Nothing of this graph was cached."


def ours(told: Told, says: dict[str, set[str]]) -> Told:
    return {node: shown for node, shown in told.items() if node in says}


def test_ip_adapter_names_the_files_and_shows_every_picture(stocked: Server) -> None:
    shown = run_listening(stocked, text_to_image(two))["two"]
    assert ".safetensors: " in shown["text"][0]
    assert len(shown["images"]) == 2
