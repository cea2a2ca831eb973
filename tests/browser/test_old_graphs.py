"""Graphs of other times in the editor: nodes that had an id of today open as what they were, with links and values."""

from typing import Any

from browser.editor import Editor
from live.published import BASE as PUBLISHED_BASE

OLD_ENCODER = "IPAdapterEncoder (before version 2)"
SAVED = "() => JSON.parse(JSON.stringify(app.graph.serialize()))"


def node(number: int, kind: str, values: Any, inputs: dict[str, int | None], **more: Any) -> dict[str, Any]:
    """A node as the editor saves it, all at one place."""
    sockets = [{"name": name, "type": "*", "link": link} for name, link in inputs.items()]
    base = {"id": number, "type": kind, "pos": [0, 0], "size": [200, 100], "flags": {}, "order": 0, "mode": 0}
    return {**base, "inputs": sockets, "outputs": [], "properties": {}, "widgets_values": values, **more}


PICTURE = [{"name": "IMAGE", "type": "IMAGE", "links": [1, 2]}]
NODES = [
    node(1, "LoadImage", ["example.png", "image"], {}, outputs=PICTURE),
    node(2, "IPAdapterEncoder", [True, 0.25, 0.5, 1, 1, 1], {"clip_vision": None, "image_1": 1, "image_2": None}),
    node(3, "IPAdapterEncoder", [0.75], {"ipadapter": None, "image": 2}),
    node(4, "IPAdapterAdvanced", {"end_at": 0.5, "weight": 0.25}, {"model": None}, mode=4),
]
GRAPH = {
    "last_node_id": 4,
    "last_link_id": 2,
    "nodes": NODES,
    "links": [[1, 1, 0, 2, 1, "IMAGE"], [2, 1, 0, 3, 1, "IMAGE"]],
    "groups": [],
    "config": {},
    "extra": {},
    "version": 0.4,
}


def opened(editor: Editor) -> dict[int, dict[str, Any]]:
    """The nodes of the graph as the editor would save them."""
    editor.load(GRAPH)
    return {found["id"]: found for found in editor.page.evaluate(SAVED)["nodes"]}


def test_nodes_of_other_times_open_as_what_they_were(editor: Editor) -> None:
    found = opened(editor)
    assert [found[number]["type"] for number in (2, 3)] == [OLD_ENCODER, "IPAdapterEncoder"]
    assert found[2]["widgets_values"][:3] == [True, 0.25, 0.5]
    assert found[3]["widgets_values"][0] == 0.75


def test_their_links_go_to_the_inputs_of_the_same_name(editor: Editor) -> None:
    found = opened(editor)
    linked = [{given["name"] for given in found[number]["inputs"] if given["link"] is not None} for number in (2, 3)]
    assert linked == [{"image_1"}, {"image"}]


def test_values_by_name_open_in_their_places_on_a_node_that_is_bypassed(editor: Editor) -> None:
    found = opened(editor)[4]
    assert found["widgets_values"][:5] == [0.25, "linear", "concat", 0, 0.5]
    assert found["mode"] == 4


def test_a_file_of_another_computer_is_the_one_that_is_here_and_the_node_says_so(editor: Editor) -> None:
    name = PUBLISHED_BASE
    saved = [
        node(1, "IPAdapterModelLoader", [f"sd15\\{name}"], {}),
        node(2, "IPA_LoadAdapter", [f"x/{name}", "auto"], {}),
    ]
    editor.load({**GRAPH, "nodes": saved, "links": []})
    states = editor.nodes()
    assert [states[id]["texts"][0] for id in ("1", "2")] == [name, name]
    assert all(f"Took {name} for" in states[id]["texts"][-1] for id in ("1", "2"))
    assert not any(state["errors"] for state in states.values())


def test_a_region_that_was_saved_before_it_had_a_place_keeps_its_mask_and_values(editor: Editor) -> None:
    mask = [{"name": "MASK", "type": "MASK", "links": [1]}]
    nodes = [
        node(1, "SolidMask", [1.0, 64, 64], {}, outputs=mask),
        node(2, "IPA_Region", [0.8, 0.5, 0.1, 0.9, "steps"], {"image_prompt": None, "mask": 1, "positive": None}),
    ]
    editor.load({**GRAPH, "nodes": nodes, "links": [[1, 1, 0, 2, 1, "MASK"]]}, "region without a place")
    sent = editor.prompt()["2"]["inputs"]
    values = {"weight": 0.8, "text_strength": 0.5, "start": 0.1, "end": 0.9, "unit": "steps", "place": "whole picture"}
    assert sent == {**values, "mask": ["1", 0]}
