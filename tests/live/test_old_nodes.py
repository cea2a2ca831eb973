"""The nodes of IPAdapter Plus on a server: graphs and programs of other times run, and mean what they meant."""

import json
from typing import Any

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.signatures import SIGNATURES
from live import old_graphs
from live.graphs import text_to_image
from live.old_graphs import LINEAR, advanced, applied, two_pictures, unified
from live.prompting import OTHER, WIDE, Prompted, difference, picture
from live.results import ValidationError
from live.server import Server
from live.specimens import named

APPLIED = {
    "IPAdapterAdvanced": {"combine_embeds": "average"},
    "IPAdapterBatch": {},
    "IPAdapterTiled": {"combine_embeds": "concat", "sharpening": 0.2},
    "IPAdapterTiledBatch": {"sharpening": 0.0},
    "IPAdapterMS": {"combine_embeds": "concat", "layer_weights": "3:2, 6:1", "weight_faceidv2": 1.0},
    "IPAdapterClipVisionEnhancer": {"combine_embeds": "average", "enhance_tiles": 2, "enhance_ratio": 0.5},
    "IPAdapterClipVisionEnhancerBatch": {},
    "IPAdapterPreciseStyleTransfer": {"combine_embeds": "concat", "style_boost": 1.0},
    "IPAdapterPreciseComposition": {"combine_embeds": "concat", "composition_boost": 0.5},
    "IPAdapterFaceID": {"combine_embeds": "concat", "weight_faceidv2": 1.0},
    "IPAdapterTilesMasked": {"short_side_tiles": 2, "tile_weight": 0.6},
}
GRAPHS = {
    "two pictures": two_pictures(),
    "strong style": two_pictures(expand_style=True),
    "embeds": old_graphs.embeds,
    "regions": old_graphs.regions,
    "prepared": old_graphs.prepared,
    "old apply": old_graphs.old_apply,
    "old embeds": old_graphs.old_embeds,
    "another pack": old_graphs.other_pack,
    "unified": unified("PLUS (high strength)"),
    "unified in other letters": unified("plus (High Strength)"),
}


@pytest.mark.parametrize("node", APPLIED)
def test_every_apply_node_acts(stocked: Server, plain: np.ndarray, node: str) -> None:
    hook = applied(node, image=WIDE, **(LINEAR | APPLIED[node]))
    assert difference(picture(stocked, hook), plain) > 0


@pytest.mark.parametrize("name", GRAPHS)
def test_every_family_of_nodes_acts(stocked: Server, plain: np.ndarray, name: str) -> None:
    assert difference(picture(stocked, GRAPHS[name]), plain) > 0


def test_embeds_are_written_where_the_old_pack_writes_them(stocked: Server) -> None:
    picture(stocked, old_graphs.embeds)
    assert list((stocked.base / "output").glob("IP_embeds_*.ipadpt"))


def test_weights_of_frames_fade_one_picture_into_another(stocked: Server) -> None:
    plain, faded = (stocked.run(text_to_image(*hooks, batch=2)).images("picture") for hooks in ((), (old_graphs.fade,)))
    assert all(difference(*pair) > 0 for pair in zip(plain, faded, strict=True))


# What they mean


def test_advanced_is_what_our_own_nodes_make_bit_for_bit(stocked: Server, prompted: np.ndarray) -> None:
    assert np.array_equal(picture(stocked, advanced()), prompted)


def test_embeds_mean_the_same_as_the_picture_that_they_are_of(stocked: Server, prompted: np.ndarray) -> None:
    assert np.array_equal(picture(stocked, old_graphs.embeds_alone), prompted)


def test_weight_zero_is_the_model_itself(stocked: Server, plain: np.ndarray) -> None:
    assert np.array_equal(picture(stocked, advanced(weight=0.0)), plain)


def test_what_original_meant_before_is_what_linear_means_now(stocked: Server, prompted: np.ndarray) -> None:
    assert np.array_equal(picture(stocked, old_graphs.old_apply), prompted)


def test_the_same_picture_for_style_and_composition_is_one_picture_of_that_type(stocked: Server) -> None:
    alone = picture(stocked, advanced(weight_type="style and composition", combine_embeds="average"))
    found = picture(stocked, same_pictures)
    assert difference(found, alone) < 1


def same_pictures(graph: Any, model: Any) -> Any:
    """Style and composition of one picture."""
    node = two_pictures()(graph, model)
    inputs = graph[node.id]["inputs"]
    inputs["image_composition"] = inputs["image_style"]
    return node


def test_the_old_numbers_are_other_ones_only_on_wish(stocked: Server, prompted: np.ndarray) -> None:
    assert np.array_equal(picture(stocked, advanced(numbers="right")), prompted)
    assert difference(picture(stocked, advanced(numbers="IPAdapter Plus")), prompted) > 0


def test_the_servers_setting_means_what_the_row_means(stocked: Server, prompted: np.ndarray) -> None:
    file = stocked.base / "user" / "default" / "comfy.settings.json"
    before = file.read_text(encoding="utf-8") if file.exists() else "{}"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        file.write_text(json.dumps(json.loads(before) | {"IPAdapter.numbers": "IPAdapter Plus"}), encoding="utf-8")
        by_setting = picture(stocked, advanced())
        kept_right = picture(stocked, advanced(numbers="right"))
    finally:
        file.write_text(before, encoding="utf-8")
    assert np.array_equal(by_setting, picture(stocked, advanced(numbers="IPAdapter Plus")))
    assert np.array_equal(kept_right, prompted)
    assert np.array_equal(picture(stocked, advanced()), prompted)


def test_without_the_middle_block_the_old_numbers_are_ours_of_the_base_kind(stocked: Server) -> None:
    """Its blank image is zeros in both, so that the middle block and the preprocessing alone differ."""

    def ours(graph: Any, model: Any) -> Any:
        node = Prompted()(graph, model)
        graph[node.id]["inputs"]["skip_middle_block"] = True
        return node

    assert difference(picture(stocked, advanced(numbers="IPAdapter Plus")), picture(stocked, ours)) < 1


# Programs of other times


def test_a_program_may_leave_out_what_came_later(stocked: Server, prompted: np.ndarray) -> None:
    graph = text_to_image(advanced())
    for node in graph.values():
        node["inputs"].pop("embeds_scaling", None)
    assert np.array_equal(stocked.run(graph).image(), prompted)


def test_a_text_may_come_through_a_link(stocked: Server, prompted: np.ndarray) -> None:
    def hook(graph: Any, model: Any) -> Any:
        word = graph.add("PrimitiveString", value="linear")
        return advanced(weight_type=word)(graph, model)

    assert np.array_equal(picture(stocked, hook), prompted)


def test_a_note_for_the_editor_beside_the_inputs_changes_nothing(stocked: Server, prompted: np.ndarray) -> None:
    graph = text_to_image(advanced())
    for node in graph.values():
        node["_meta"] = {"title": "My node"}
    assert np.array_equal(stocked.run(graph).image(), prompted)


@pytest.mark.parametrize("name", ["old_embeds", "other_pack"])
def test_a_shape_of_other_times_may_be_posted_under_its_old_id(stocked: Server, plain: np.ndarray, name: str) -> None:
    hook = getattr(old_graphs, name)
    graph = text_to_image(hook)
    for node in graph.values():
        node["class_type"] = node["class_type"].split(" (")[0]
    found = stocked.run(graph).image()
    assert np.array_equal(found, picture(stocked, hook))
    assert difference(found, plain) > 0


@pytest.mark.parametrize("value", [float("nan"), None])
def test_a_number_that_is_none_is_the_default(stocked: Server, prompted: np.ndarray, value: float | None) -> None:
    assert np.array_equal(picture(stocked, advanced(weight=value, end_at=value)), prompted)


def test_what_clients_read_is_json_without_numbers_that_are_none(stocked: Server) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(stocked.fetch("/object_info"), parse_constant=refuse)


@pytest.mark.parametrize("word", ["original", "style transfer (SDXL)", "composition (SDXL)"])
def test_a_retired_word_runs(stocked: Server, plain: np.ndarray, word: str) -> None:
    assert difference(picture(stocked, advanced(weight_type=word)), plain) > 0


def test_clients_find_every_id_with_lists_in_the_old_form(stocked: Server) -> None:
    about = stocked.get("/object_info")
    assert set(SIGNATURES) <= set(about)
    assert "PLUS (high strength)" in about["IPAdapterUnifiedLoader"]["input"]["required"]["preset"][0]
    assert "standard" in about["IPAdapter"]["input"]["required"]["weight_type"][0]
    assert named("base.safetensors") in about["IPAdapterModelLoader"]["input"]["required"]["ipadapter_file"][0]
    assert all(about[node]["deprecated"] for node in SIGNATURES)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"weight_type": "softer"}, r"weight_type: 'softer' not in \['linear'"),
        ({"ipadapter": ["loader", 0]}, r"'details': 'ipadapter, received_type\(MODEL\)"),
        ({"weight_type": {"a": 1}}, "weight_type: "),
    ],
)
def test_a_mistake_is_said_before_anything_runs(stocked: Server, more: dict[str, Any], sentence: str) -> None:
    graph = text_to_image(advanced())
    node = next(node for node in graph.values() if node["class_type"] == "IPAdapterAdvanced")
    node["inputs"] |= more
    with pytest.raises(ValidationError, match=sentence) as refused:
        stocked.run(graph)
    assert said_once(refused.value)


def said_once(refusal: ValidationError) -> bool:
    """Whether one node says one thing, at one of its inputs."""
    return [len(node["errors"]) for node in refusal.node_errors.values()] == [1]


def test_a_file_that_nothing_here_is_like_is_named(stocked: Server) -> None:
    graph = text_to_image(advanced(image=OTHER))
    loader = next(node for node in graph.values() if node["class_type"] == "IPAdapterModelLoader")
    loader["inputs"]["ipadapter_file"] = "kolors-faceid-portrait-composition.bin"
    with pytest.raises(ValidationError, match="kolors-faceid-portrait-composition") as refused:
        stocked.run(graph)
    assert said_once(refused.value)
