"""Graphs of the editor are converted in place: links, modes, titles, places, subgraphs; nothing of others is lost."""

from collections import Counter
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.migrate.convert import convert
from old_files import Described, Graph, Out, check_links, in_subgraph, random_graph, saved, types

GRAPH: Graph = {
    1: Described("CheckpointLoaderSimple"),
    2: Described("LoadImage"),
    3: Described("IPAdapterUnifiedLoader", {"model": Out(1), "preset": "PLUS (high strength)"}),
    4: Described("Reroute", {"": Out(3, 1)}),
    5: Described("PrimitiveNode"),
    6: Described(
        "IPAdapterAdvanced",
        {
            "model": Out(3), "ipadapter": Out(4), "image": Out(2), "weight": Out(5), "weight_type": "style transfer",
            "combine_embeds": "concat", "start_at": 0.0, "end_at": 0.8, "embeds_scaling": "V only",
        },
        4,
    ),
    7: Described("KSampler", {"model": Out(6)}),
}  # fmt: skip


def node(graph: dict[str, Any], kind: str) -> dict[str, Any]:
    """The only node of a type."""
    (found,) = [node for node in graph["nodes"] if node["type"] == kind]
    return found  # type: ignore[no-any-return]


def source(graph: dict[str, Any], taker: dict[str, Any], name: str) -> tuple[Any, Any]:
    """Where an input comes from."""
    (number,) = [given["link"] for given in taker["inputs"] if given["name"] == name]
    (link,) = [link for link in graph["links"] if link[0] == number]
    return link[1], link[2]


def others(graph: dict[str, Any]) -> Counter[str]:
    """Nodes of others, but for those that old nodes become."""
    ours = ("ImageBatch", "CLIPVisionEncode")
    return Counter({kind: n for kind, n in types(graph).items() if _is_other(kind) and kind not in ours})


def test_links_go_to_inputs_by_name_and_a_linked_widget_stays_linked() -> None:
    graph = convert(saved(GRAPH)).graph
    check_links(graph)
    apply, load = node(graph, "IPA_Apply"), node(graph, "IPA_AutoLoad")
    assert source(graph, apply, "weight") == (5, 0) and source(graph, apply, "model") == (1, 0)
    assert source(graph, node(graph, "IPA_Encode"), "clip_vision") == (load["id"], 1)
    assert source(graph, node(graph, "KSampler"), "model") == (apply["id"], 0)
    assert apply["widgets_values"] == [1.0, 0.0, 0.8, "percent", 0.0, False, "V only", "off", "auto"]


def test_a_reroute_stays_and_carries_the_new_type() -> None:
    graph = convert(saved(GRAPH)).graph
    reroute = node(graph, "Reroute")
    assert source(graph, node(graph, "IPA_Encode"), "ip_adapter") == (reroute["id"], 0)
    assert reroute["outputs"][0]["type"] == "IP_ADAPTER"
    kinds = {link[5] for link in graph["links"] if reroute["id"] in (link[1], link[3])}
    assert kinds == {"IP_ADAPTER"}


def test_every_new_node_is_switched_as_the_old_one_was() -> None:
    graph = convert(saved(GRAPH)).graph
    modes = {node["type"]: node["mode"] for node in graph["nodes"]}
    assert [modes[f"IPA_{kind}"] for kind in ("Encode", "LayerWeights", "Apply", "AutoLoad")] == [4, 4, 4, 0]


def test_the_node_that_applies_keeps_number_place_title_and_colour() -> None:
    before = saved(GRAPH)
    node(before, "IPAdapterAdvanced").update(title="the hero", bgcolor="#335", pos={"0": 700, "1": 90})
    graph = convert(before).graph
    apply = node(graph, "IPA_Apply")
    assert (apply["id"], apply["pos"], apply["title"], apply["bgcolor"]) == (6, [700, 90], "the hero", "#335")
    heights = sorted(node(graph, f"IPA_{kind}")["pos"][1] for kind in ("Apply", "Encode", "LayerWeights"))
    assert all(below - above > 100 for above, below in pairwise(heights))
    assert "title" not in node(graph, "IPA_Encode")


def test_a_subgraph_is_converted_with_its_links_as_objects_and_its_counters() -> None:
    graph = convert(in_subgraph(GRAPH)).graph
    check_links(graph)
    inside = graph["definitions"]["subgraphs"][0]
    assert all(isinstance(link, dict) for link in inside["links"])
    assert node(inside, "IPA_Apply") and node(inside, "Reroute")
    assert inside["state"]["lastNodeId"] == max(node["id"] for node in inside["nodes"])
    assert inside["state"]["lastLinkId"] == max(link["id"] for link in inside["links"])


def test_links_from_the_inputs_of_a_subgraph_are_named_there() -> None:
    graph = in_subgraph(GRAPH)
    inside = graph["definitions"]["subgraphs"][0]
    (link,) = [link for link in inside["links"] if link["origin_id"] == 1]
    link |= {"origin_id": -10, "origin_slot": 0}
    inside["nodes"] = [node for node in inside["nodes"] if node["id"] != 1]
    inside["inputs"] = [{"name": "model", "type": "MODEL", "linkIds": [link["id"]]}]
    inside = convert(graph).graph["definitions"]["subgraphs"][0]
    numbers = [link["id"] for link in inside["links"] if link["origin_id"] == -10]
    assert sorted(inside["inputs"][0]["linkIds"]) == sorted(numbers)
    takers = {link["target_id"] for link in inside["links"] if link["id"] in numbers}
    assert takers == {node(inside, "IPA_AutoLoad")["id"], node(inside, "IPA_Apply")["id"]}


def test_what_leaves_a_subgraph_by_an_old_socket_stays() -> None:
    graph = in_subgraph(GRAPH)
    out = {"id": 99, "origin_id": 3, "origin_slot": 1, "target_id": -20, "target_slot": 0, "type": "IPADAPTER"}
    graph["definitions"]["subgraphs"][0]["links"].append(out)
    found = convert(graph)
    assert found.converted == 0 and "leaves the subgraph" in found.lines[0]
    assert found.graph == graph


def test_a_node_whose_widgets_its_subgraph_shows_stays() -> None:
    graph = in_subgraph(GRAPH)
    graph["nodes"][0]["properties"]["proxyWidgets"] = [["6", "weight"]]
    assert "shown on the subgraph" in convert(graph).lines[1]


def test_nodes_of_a_group_node_stay() -> None:
    graph = saved({1: Described("LoadImage")}) | {"extra": {"groupNodes": {"mine": saved(GRAPH)}}}
    found = convert(graph)
    assert found.graph == graph and found.stayed == 2 and "group node" in str(found.lines)


def test_points_on_links_forget_those_that_are_gone() -> None:
    own = GRAPH[6]._replace(inputs=GRAPH[6].inputs | {"ipadapter": Out(3, 1), "weight": 1.0})
    chained = GRAPH[3]._replace(inputs=GRAPH[3].inputs | {"ipadapter": Out(3, 1), "model": Out(3)})
    graph = saved({key: GRAPH[key] for key in (1, 2, 3)} | {6: own, 8: chained})
    numbers = [link[0] for link in graph["links"]]
    extensions = [{"id": number, "parentId": 1} for number in numbers]
    graph["extra"] = {"reroutes": [{"id": 1, "linkIds": numbers}], "linkExtensions": extensions}
    found = convert(graph).graph
    there = {link[0] for link in found["links"]} & set(numbers)
    assert len(there) < len(numbers)
    assert set(found["extra"]["reroutes"][0]["linkIds"]) == there
    assert {one["id"] for one in found["extra"]["linkExtensions"]} == there


def test_two_nodes_of_one_number_stay() -> None:
    loader = Described("IPAdapterModelLoader", {"ipadapter_file": "a.bin"})
    graph = saved({1: loader, 2: loader})
    graph["nodes"][1]["id"] = 1
    found = convert(graph)
    assert found.graph == graph and "two nodes have its number" in found.lines[0]


def test_a_node_without_a_number_stays() -> None:
    graph = saved({1: Described("IPAdapterModelLoader", {"ipadapter_file": "a.bin"})})
    del graph["nodes"][0]["id"]
    found = convert(graph)
    assert found.graph == graph and "it has no number" in found.lines[0]


@pytest.mark.parametrize("write", [saved, in_subgraph])
@pytest.mark.parametrize("seed", range(100))
def test_no_node_or_link_of_others_is_lost_and_a_second_time_changes_nothing(seed: int, write: Any) -> None:
    graph = write(random_graph(seed))
    before = deepcopy(graph)
    found = convert(graph)
    assert graph == before
    check_links(found.graph)
    assert others(found.graph) == others(graph)
    _check_links_of_others(_inside(graph), _inside(found.graph))
    assert found.converted + found.stayed == len(found.lines)
    again = convert(found.graph)
    assert again.graph == found.graph and again.converted == 0


def _check_links_of_others(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Links between nodes of others are as they were, and each of their inputs is still connected."""
    names = {node["id"] for node in before["nodes"] if _is_other(node["type"])}
    links = [[_fields(link) for link in graph["links"]] for graph in (before, after)]
    between = [{link[:5] for link in each if {link[1], link[3]} <= names} for each in links]
    assert between[0] <= between[1]
    taken = [{link[3:5] for link in each if link[3] in names} for each in links]
    assert taken[0] == taken[1]


def _is_other(kind: str) -> bool:
    return not any(word in kind for word in ("IPA", "Prep", "InsightFace"))


def _inside(graph: dict[str, Any]) -> dict[str, Any]:
    return dict(graph["definitions"]["subgraphs"][0]) if "definitions" in graph else graph


def _fields(link: Any) -> tuple[Any, ...]:
    return tuple(link.values()) if isinstance(link, dict) else tuple(link)


@pytest.mark.parametrize(
    ("word", "stays"), [("IPAdapter Plus", True), ("right", False), ("as set for the server", False)]
)
def test_a_node_of_a_file_that_asks_for_the_old_numbers_stays(word: str, stays: bool) -> None:
    graph = saved(GRAPH)
    node = next(node for node in graph["nodes"] if node["id"] == 6)
    node["widgets_values"].append(word)
    (line,) = (line for line in convert(graph).lines if "(node 6):" in line)
    assert ("its row numbers asks for" in line) == stays
