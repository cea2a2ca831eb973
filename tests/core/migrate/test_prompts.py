"""Prompts of the API are converted by themselves or inside the body that is posted."""

from copy import deepcopy
from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.migrate.convert import convert
from old_files import Graph, Out, check_links, prompt, random_graph, saved, types

OLD: dict[str, Any] = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {}},
    "4": {
        "class_type": "IPAdapterUnifiedLoader",
        "inputs": {"model": ["1", 0], "preset": "STANDARD (medium strength)"},
    },
    "5": {
        "class_type": "IPAdapter",
        "inputs": {"model": ["4", 0], "ipadapter": ["4", 1], "image": ["2", 0], "weight": 0.6, "attn_mask": ["2", 1]},
        "_meta": {"title": "IPAdapter"},
    },
    "2": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
    "7:3": {"class_type": "KSampler", "inputs": {"model": ["5", 0], "seed": 3}},
}


def test_the_node_that_applies_keeps_its_number_and_the_rest_is_as_it_was() -> None:
    graph = convert(OLD).graph
    apply = graph["5"]
    assert apply["class_type"] == "IPA_Apply" and apply["_meta"] == {"title": "Apply Image Prompt"}
    assert apply["inputs"]["weight"] == 0.6 and apply["inputs"]["mask"] == ["2", 1]
    assert apply["inputs"]["model"] == ["1", 0]
    assert {key: graph[key] for key in ("1", "2", "7:3")} == {key: OLD[key] for key in ("1", "2", "7:3")}


def test_a_node_that_asks_for_the_old_numbers_stays_with_its_loader() -> None:
    inputs = {**OLD["5"]["inputs"], "numbers": "IPAdapter Plus"}
    graph = OLD | {"5": {**OLD["5"], "inputs": inputs}}
    found = convert(graph)
    assert found.graph == graph
    assert "its row numbers asks for" in str(found.lines)
    assert convert(OLD | {"5": {**OLD["5"], "inputs": {**inputs, "numbers": "right"}}}).stayed == 0


def test_values_that_a_short_prompt_lacks_are_the_defaults_and_sockets_without_links_are_left_out() -> None:
    graph = convert(OLD).graph
    inputs = graph["5"]["inputs"]
    assert (inputs["start"], inputs["end"], inputs["unit"]) == (0.0, 1.0, "percent")
    assert "schedule" not in inputs
    assert all(None not in node["inputs"].values() for node in graph.values())


def test_what_took_an_output_of_an_old_node_takes_it_where_it_is_now() -> None:
    graph = convert(OLD | {"9": {"class_type": "KSampler", "inputs": {"model": ["4", 0], "seed": 1}}}).graph
    assert graph["9"]["inputs"] == {"model": ["1", 0], "seed": 1}


def test_the_body_of_a_request_keeps_what_else_it_says() -> None:
    found = convert({"prompt": OLD, "client_id": "someone"})
    assert found.graph == {"prompt": convert(OLD).graph, "client_id": "someone"}


@pytest.mark.parametrize("given", [{}, {"a": 1}, {"nodes": 3}])
def test_what_is_no_graph_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a prompt for the API"):
        convert(given)


@pytest.mark.parametrize("seed", range(100))
def test_a_prompt_becomes_what_the_graph_becomes_and_a_second_time_changes_nothing(seed: int) -> None:
    graph = _without_reroutes(random_graph(seed))
    given = prompt(graph)
    before = deepcopy(given)
    found = convert(given)
    assert given == before
    check_links(found.graph)
    assert convert(found.graph).graph == found.graph
    assert types(found.graph) == types(convert(saved(graph)).graph)


def _without_reroutes(graph: Graph) -> Graph:
    """A graph as the API has it: all nodes are switched on, and none only passes something on."""
    there = {key: node._replace(mode=0) for key, node in graph.items() if node.type != "Reroute"}
    return {
        key: node._replace(inputs={name: value for name, value in node.inputs.items() if _is_in(value, there)})
        for key, node in there.items()
    }


def _is_in(value: Any, graph: Graph) -> bool:
    return not isinstance(value, Out) or value.node in graph
