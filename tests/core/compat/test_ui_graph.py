"""A saved graph is walked whatever it lacks: nodes in subgraphs and group nodes, links of every form."""

from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.ui_graph import Level, is_missing, levels, sockets, values

LOADER = {"id": 1, "type": "IPAdapterModelLoader", "outputs": [{"name": "IPADAPTER", "links": [7]}]}
APPLY = {"id": 2, "type": "IPAdapter", "inputs": [{"name": "model", "link": None}, {"name": "ipadapter", "link": 7}]}
OBJECT = {"id": 7, "origin_id": 1, "origin_slot": 0, "target_id": 2, "target_slot": 0, "type": "IPADAPTER"}
FORMS = {"array": [7, 1, 0, 2, 0, "IPADAPTER"], "object": OBJECT}


def level(**content: Any) -> Level:
    return Level("", content)


def inner(name: str, *inside: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "nodes": [LOADER], "links": [OBJECT], "definitions": {"subgraphs": list(inside)}}


def test_every_list_of_nodes_is_found_from_outside_to_inside() -> None:
    graph = {
        "nodes": [APPLY],
        "definitions": {"subgraphs": [inner("face", inner("eyes")), inner("hands")]},
        "extra": {"groupNodes": {"group": {"nodes": [LOADER], "links": []}}},
    }
    assert [found.name for found in levels(graph)] == ["", "face", "eyes", "hands", "group"]
    assert [found.grouped for found in levels(graph)] == [False] * 4 + [True]
    assert all(len(found.nodes) == 1 for found in levels(graph))


@pytest.mark.parametrize("form", FORMS)
def test_a_link_is_found_by_the_name_of_its_input_whatever_slot_it_says(form: str) -> None:
    links = level(nodes=[LOADER, APPLY], links=[FORMS[form]]).links_to(APPLY)
    assert list(links) == ["ipadapter"]
    assert [links["ipadapter"][name] for name in ("id", "origin_id", "origin_slot", "target_slot")] == [7, 1, 0, 0]


@pytest.mark.parametrize("form", FORMS)
def test_links_out_of_a_node_are_found(form: str) -> None:
    (link,) = level(nodes=[LOADER, APPLY], links=[FORMS[form]]).links_from(LOADER)
    assert (link["target_id"], link["type"]) == (2, "IPADAPTER")


@pytest.mark.parametrize("form", FORMS)
def test_a_link_is_written_to_in_the_file(form: str) -> None:
    record: Any = FORMS[form].copy()  # type: ignore[attr-defined]
    (link,) = level(nodes=[], links=[record]).links
    link["target_slot"] = 3
    assert 3 in (record.values() if isinstance(record, dict) else record)
    assert link["target_slot"] == 3


def test_group_nodes_name_nodes_by_their_place_and_sockets_by_slots() -> None:
    nodes = [{"type": "IPAdapterModelLoader"}, {"type": "IPAdapter", "inputs": APPLY["inputs"]}]
    group = Level(
        "group", {"nodes": nodes, "links": [[0, 0, 1, 1, 44, "IPADAPTER"], [None, 0, 1, 9, 3, "MODEL"]]}, True
    )
    assert [group.key(node) for node in nodes] == [0, 1]
    assert {name: link["origin_id"] for name, link in group.links_to(nodes[1]).items()} == {"ipadapter": 0}
    assert [link["target_slot"] for link in group.links_from(nodes[0])] == [1]


def test_of_two_links_with_one_id_the_one_to_the_node_is_taken() -> None:
    twice = level(nodes=[APPLY], links=[[7, 8, 0, 9, 0, "IMAGE"], [7, 1, 0, 2, 1, "IPADAPTER"]])
    assert twice.links_to(APPLY)["ipadapter"]["origin_id"] == 1


@pytest.mark.parametrize("graph", [None, [], {}, {"nodes": None}, {"nodes": [None, {}, {"type": 3}], "links": None}])
def test_what_is_missing_is_empty(graph: Any) -> None:
    assert not [node for found in levels(graph) for node in found.nodes]
    assert not [link for found in levels(graph) for link in found.links]


def test_a_node_without_id_inputs_and_values_is_walked() -> None:
    bare = {"type": "IPAdapterModelLoader"}
    alone = level(nodes=[bare], links=[None, [7], [7, 1, 0, 2, 0, "IPADAPTER"]])
    assert alone.nodes == [bare]
    assert (alone.key(bare), alone.links_to(bare), alone.links_from(bare)) == (None, {}, [])
    assert (sockets(bare, "inputs"), values(bare, ["weight"])) == ([], {})
    assert level(nodes=[APPLY], links=[None, [7]]).links_to(APPLY)["ipadapter"]["type"] is None


@pytest.mark.parametrize("saved", [[0.5, None, "x"], {"end": "x", "weight": 0.5, "start": float("nan"), "other": 1}])
def test_values_are_read_by_name_and_those_that_say_nothing_are_left_out(saved: Any) -> None:
    assert values({"widgets_values": saved}, ["weight", "start", "end", "late"]) == {"weight": 0.5, "end": "x"}


def test_a_value_says_nothing_when_it_is_null_or_no_finite_number() -> None:
    assert all(is_missing(value) for value in (None, float("nan"), float("inf")))
    assert not any(is_missing(value) for value in (0, 0.0, False, ""))
