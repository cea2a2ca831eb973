"""Graphs of other times become those of today, and nothing else in them is touched."""

import json
from copy import deepcopy
from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.shapes import normalise_graph, normalise_prompt
from comfyui_ip_adapter.ip_adapter_core.compat.signatures import OLD_ENCODER, OTHER_IPADAPTER, OTHER_SHAPES, SIGNATURES

ALL = SIGNATURES | OTHER_SHAPES
ROW = "as set for the server"
NAN = float("nan")

Graph = dict[str, Any]


def node(kind: str, saved: Any = None, *names: str, **more: Any) -> Graph:
    """A node with sockets of these names, each with a link of its own place."""
    inputs = [{"name": name, "type": "*", "link": place} for place, name in enumerate(names)]
    return {"id": 5, "type": kind, "widgets_values": saved, "inputs": inputs, **more}


def graph_of(*nodes: Graph) -> Graph:
    """A graph of one node or more, with the links of the first."""
    links = [[place, 90 + place, 0, 5, place, "*"] for place in range(len(nodes[0].get("inputs") or []))]
    return {"nodes": list(nodes), "links": links, "version": 0.4}


def normalised(kind: str, saved: Any, *names: str) -> Graph:
    """A node after its graph was made today's."""
    graph = graph_of(node(kind, saved, *names))
    normalise_graph(graph)
    found: Graph = graph["nodes"][0]
    return found


def today(kind: str) -> Graph:
    signature = ALL[kind]
    values = ["a file" if given.default is None else given.default for given in signature.widgets]
    return graph_of(node(kind, values, *(given.name for given in signature.inputs if not given.is_widget)))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("more", [[], [ROW]], ids=["of the old pack", "with our row"])
def test_a_graph_of_today_stays_as_it_is(kind: str, more: list[str]) -> None:
    graph = today(kind)
    graph["nodes"][0]["widgets_values"] += more
    before = json.dumps(graph)
    assert normalise_graph(graph) == []
    assert json.dumps(graph) == before


def test_nodes_of_others_stay_as_they_are() -> None:
    graph = graph_of(node("KSampler", {"seed": NAN}, "image_1", "clip_vision"), {"type": "IPAdapter2"}, {"id": 3})
    before = json.dumps(graph)
    assert normalise_graph(graph) == []
    assert json.dumps(graph) == before


OTHERS = [
    pytest.param("IPAdapterEncoder", [True, 0.28, 1, 1, 0, 0], ["clip_vision", "image_1"], OLD_ENCODER, id="encoder"),
    pytest.param("IPAdapterEncoder", [True, 0.28, 1, 1, 0, 0], [], OLD_ENCODER, id="encoder by values"),
    pytest.param("IPAdapterEncoder", None, ["image_2"], OLD_ENCODER, id="encoder by a socket"),
    pytest.param("IPAdapterEncoder", {"ipadapter_plus": True}, [], OLD_ENCODER, id="encoder by names of values"),
    pytest.param(
        "IPAdapterEncoder", [False, 0.1], ["clip_vision", "image"], OLD_ENCODER, id="encoder of the first days"
    ),
    pytest.param(
        "IPAdapterEncoder", [1], ["ipadapter", "image", "clip_vision"], "IPAdapterEncoder", id="encoder today"
    ),
    pytest.param("IPAdapterEncoder", [NAN], [], "IPAdapterEncoder", id="encoder without a value"),
    pytest.param("IPAdapter", [1, "a.bin", "fp16"], ["model", "image", "clip_vision"], OTHER_IPADAPTER, id="other"),
    pytest.param("IPAdapter", [1, "a.bin"], [], OTHER_IPADAPTER, id="other by two values"),
    pytest.param("IPAdapter", None, ["model", "clip_vision_output"], OTHER_IPADAPTER, id="other by a socket"),
    pytest.param("IPAdapter", [0.4, 0, 1], ["model", "ipadapter", "image"], "IPAdapter", id="today, short"),
    pytest.param("IPAdapter", [0.4, 0, 1, "standard"], [], "IPAdapter", id="today by values"),
]


@pytest.mark.parametrize(("kind", "saved", "names", "meant"), OTHERS)
def test_of_two_nodes_with_one_id_the_right_one_is_told(kind: str, saved: Any, names: list[str], meant: str) -> None:
    assert normalised(kind, saved, *names)["type"] == meant


def test_an_encoder_of_the_first_days_has_its_picture_in_the_first_place() -> None:
    found = normalised("IPAdapterEncoder", [True, 0.5], "clip_vision", "image")
    assert [given["name"] for given in found["inputs"]] == ["clip_vision", "image_1"]
    assert found["widgets_values"][:2] == [True, 0.5]


SHORT = [
    ("IPAdapterAdvanced", [0.8, "linear", "concat", 0, 1], ["V only"]),
    ("IPAdapter", [0.8, 0, 1], ["standard"]),
    ("IPAdapterBatch", [0.8, "linear", 0, 1, "K+V"], [0]),
    ("IPAdapterFaceID", [0.8, 1, "linear", "concat", 0, 1], ["V only"]),
    ("IPAdapterTiledBatch", [0.8, "linear", 0, 1, 0], ["V only", 0]),
    ("IPAdapterInsightFaceLoader", ["CUDA"], ["buffalo_l"]),
    ("IPAdapterApply", [0.7, 0.2], ["original", 0.0, 1.0, False]),
    ("IPAdapterApplyEncoded", [0.7, "original"], [0.0, 1.0, False]),
]


@pytest.mark.parametrize(("kind", "saved", "rest"), SHORT)
def test_short_lists_are_filled_with_defaults(kind: str, saved: list[Any], rest: list[Any]) -> None:
    assert normalised(kind, saved)["widgets_values"] == saved + rest


LONG = [
    ("IPAdapterFaceID", [1, 1, "linear", "concat", 0, 1, "V only"], "0:1.0, 1:0.5"),
    ("IPAAdapterFaceIDBatch", [1, 1, "linear", "concat", 0, 1, "V only"], ""),
    ("PrepImageForClipVision", ["LANCZOS", "top", 0.1], True),
]


@pytest.mark.parametrize(("kind", "values", "extra"), LONG)
def test_values_that_no_input_takes_are_left_out(kind: str, values: list[Any], extra: Any) -> None:
    assert normalised(kind, [*values, extra])["widgets_values"] == values
    assert normalised(kind, [*values, extra, ROW])["widgets_values"] == [*values, ROW]


def test_values_by_name_become_a_list_in_order() -> None:
    saved = {"end_at": 0.9, "weight": 0.5, "weight_type": "ease in", "videopreview": {}}
    expected = [0.5, "ease in", "concat", 0.0, 0.9, "V only"]
    assert normalised("IPAdapterAdvanced", saved)["widgets_values"] == expected


@pytest.mark.parametrize("nothing", [None, NAN])
def test_values_that_say_nothing_become_the_default(nothing: Any) -> None:
    assert normalised("IPAdapter", [nothing, 0.1, nothing, "standard"])["widgets_values"] == [1.0, 0.1, 1.0, "standard"]


def test_a_file_has_no_default() -> None:
    assert normalised("IPAdapterModelLoader", [])["widgets_values"] == []
    assert normalised("IPAdapterModelLoader", None)["widgets_values"] is None
    assert normalised("IPAdapter", [1], "clip_vision")["widgets_values"] == [1]
    assert normalised("IPAdapter", [1, None, "fp32"], "clip_vision")["widgets_values"] == [1, None, "fp32"]


def test_words_of_other_times_stay() -> None:
    saved = [1, "style transfer (SDXL)", "concat", 0, 1, "V only"]
    assert normalised("IPAdapterAdvanced", saved)["widgets_values"] == saved


def targets(graph: Graph) -> dict[str, int]:
    """For each input that a link comes to by its slot number: the link."""
    names = [given["name"] for given in graph["nodes"][0]["inputs"]]
    return {names[link[4]]: link[0] for link in graph["links"]}


def test_sockets_in_another_order_keep_their_links() -> None:
    names = ("image", "ipadapter", "model")
    graph = graph_of(node("IPAdapter", [1, 0, 1, "standard"], *names))
    before = targets(graph)
    assert normalise_graph(graph)
    assert [given["name"] for given in graph["nodes"][0]["inputs"]] == ["model", "ipadapter", "image"]
    assert targets(graph) == before


def test_a_widget_that_is_fed_by_a_link_keeps_it() -> None:
    graph = graph_of(node("IPAdapterApply", [1, 0], "image", "weight", "ipadapter", "ad"))
    graph["nodes"][0]["inputs"][1]["widget"] = {"name": "weight"}
    before = targets(graph)
    normalise_graph(graph)
    assert [given["name"] for given in graph["nodes"][0]["inputs"]] == ["ipadapter", "weight", "image", "ad"]
    assert targets(graph) == before


def test_a_link_whose_slot_is_wrong_goes_where_the_input_says() -> None:
    graph = graph_of(node("IPAdapter", [1, 0, 1, "standard"], "model", "ipadapter"))
    graph["links"][1][4] = 0
    assert len(normalise_graph(graph)) == 1
    assert targets(graph) == {"model": 0, "ipadapter": 1}


def test_links_inside_a_group_node_follow_the_order_of_sockets() -> None:
    nodes = [{"type": "LoadImage"}, {k: v for k, v in node("IPAdapter", None, "image", "model").items() if k != "id"}]
    group = {"nodes": nodes, "links": [[0, 0, 1, 0, 44, "IMAGE"]]}
    normalise_graph({"extra": {"groupNodes": {"portrait": group}}})
    assert nodes[1]["inputs"][group["links"][0][3]]["name"] == "image"  # type: ignore[index]
    assert [given["name"] for given in nodes[1]["inputs"]] == ["model", "image"]


def test_nodes_inside_subgraphs_and_group_nodes_are_changed_too() -> None:
    old = node("IPAdapterEncoder", [True, 0, 1, 1, 1, 1], mode=4)
    inner = {"nodes": [deepcopy(old)], "links": []}
    graph = {"definitions": {"subgraphs": [deepcopy(inner)]}, "extra": {"groupNodes": {"a": deepcopy(inner)}}}
    assert len(normalise_graph(graph)) == 2
    for holder in (graph["definitions"]["subgraphs"][0], graph["extra"]["groupNodes"]["a"]):
        assert holder["nodes"] == [{**old, "type": OLD_ENCODER}]


@pytest.mark.parametrize(
    "graph", [None, [], {}, {"nodes": [{"type": "IPAdapter"}, {"type": "IPAdapter", "inputs": None}]}]
)
def test_what_is_missing_is_borne(graph: Any) -> None:
    before = deepcopy(graph)
    assert normalise_graph(graph) == []
    assert graph == before


def test_what_was_changed_is_said_once() -> None:
    graph = graph_of(node("IPAdapterEncoder", [True, 0, 1, 1, 1, NAN], "clip_vision", "image_1"))
    assert normalise_graph(graph) == [
        f"IPAdapterEncoder (node 5): read as {OLD_ENCODER}",
        "IPAdapterEncoder (node 5): weight_4 is 1.0, its default",
    ]
    assert normalise_graph(graph) == []


def call(kind: str, **inputs: Any) -> Graph:
    return {"7": {"class_type": kind, "inputs": inputs}}


PROMPTS = [
    (call("IPAdapterEncoder", clip_vision=["1", 0], image_1=["2", 0], noise=0.1), OLD_ENCODER),
    (call("IPAdapterEncoder", clip_vision=["1", 0], image=["2", 0], plus=True, noise=0.1), OLD_ENCODER),
    (call("IPAdapterEncoder", ipadapter=["1", 0], image=["2", 0], clip_vision=["3", 0]), "IPAdapterEncoder"),
    (call("IPAdapter", model=["1", 0], model_name="a.bin", clip_vision=["3", 0]), OTHER_IPADAPTER),
    (call("IPAdapter", model=["1", 0], ipadapter=["1", 1], image=["2", 0]), "IPAdapter"),
]


@pytest.mark.parametrize(("prompt", "meant"), PROMPTS)
def test_nodes_of_prompts_are_told_by_the_inputs_that_are_there(prompt: Graph, meant: str) -> None:
    normalise_prompt(prompt)
    assert prompt["7"]["class_type"] == meant


def test_a_picture_of_the_first_days_is_the_first_picture() -> None:
    prompt = call("IPAdapterEncoder", clip_vision=["1", 0], image=["2", 0], plus=True, noise=0.1)
    normalise_prompt(prompt)
    inputs = prompt["7"]["inputs"]
    assert (inputs["image_1"], inputs["ipadapter_plus"]) == (["2", 0], True)
    assert not {"image", "weight_2"} & inputs.keys()


def test_widgets_that_a_prompt_lacks_have_their_defaults_and_the_rest_stays() -> None:
    given = {"weight": ["9", 0], "weight_type": "original", "end_at": NAN, "model": ["1", 0], "of no version": 3}
    prompt = call("IPAdapterAdvanced", **given)
    assert len(normalise_prompt(prompt)) == 4
    expected = given | {"combine_embeds": "concat", "start_at": 0.0, "end_at": 1.0, "embeds_scaling": "V only"}
    assert prompt["7"]["inputs"] == expected


@pytest.mark.parametrize("prompt", [None, [], {"1": None, "2": {}, "3": {"class_type": "IPAdapter", "inputs": 3}}])
def test_prompts_of_others_and_broken_ones_stay_as_they_are(prompt: Any) -> None:
    before = deepcopy(prompt)
    assert normalise_prompt(prompt) == []
    assert prompt == before


def test_a_prompt_of_today_stays_as_it_is() -> None:
    for kind, signature in ALL.items():
        sockets = {given.name: ["1", 0] for given in signature.inputs if not given.is_widget}
        prompt = call(kind, **sockets, **{given.name: given.default or 0 for given in signature.widgets})
        before = json.dumps(prompt)
        assert normalise_prompt(prompt) == []
        assert json.dumps(prompt) == before


def test_the_mask_of_the_first_apply_node_is_its_mask_today() -> None:
    call = {"class_type": "IPAdapterApply", "inputs": {"mask": ["3", 0]}}
    normalise_prompt({"1": call})
    assert call["inputs"]["attn_mask"] == ["3", 0] and "mask" not in call["inputs"]
    node = {"id": 1, "type": "IPAdapterApply", "inputs": [{"name": "mask", "type": "MASK", "link": 4}]}
    normalise_graph({"nodes": [node], "links": [[4, 3, 0, 1, 0, "MASK"]]})
    assert [given["name"] for given in node["inputs"]] == ["attn_mask"]


def test_a_word_behind_the_values_that_is_none_of_our_row_is_left_out() -> None:
    values = [0.8, "linear", "concat", 0, 1, "V only"]
    node = {"id": 1, "type": "IPAdapterAdvanced", "widgets_values": [*values, "fixed", "right"]}
    normalise_graph({"nodes": [node], "links": []})
    assert node["widgets_values"] == [*values, "right"]
