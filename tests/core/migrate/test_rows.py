"""Each old node becomes what the table says, in both formats; what it cannot say stays, with a reason."""

from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.signatures import OLD_ENCODER, OTHER_IPADAPTER, OTHER_SHAPES, SIGNATURES
from comfyui_ip_adapter.ip_adapter_core.migrate.convert import convert
from comfyui_ip_adapter.ip_adapter_core.migrate.rows import ROWS, listing
from comfyui_ip_adapter.ip_adapter_core.migrate.sheet import OLD
from old_files import Described, Graph, Out, check_links, prompt, saved, types, widgets

MODEL, IMAGE, VISION, SECOND = Out(1), Out(2), Out(3), Out(9)
BASE: Graph = {
    1: Described("CheckpointLoaderSimple"),
    2: Described("LoadImage"),
    3: Described("CLIPVisionLoader"),
    9: Described("LoadImage"),
}
SOCKETS = {
    "MODEL": MODEL, "IMAGE": IMAGE, "CLIP_VISION": VISION, "MASK": Out(2, 1), "IPADAPTER": Out(4),
    "INSIGHTFACE": Out(5), "EMBEDS": Out(6), "IPADAPTER_PARAMS": Out(7), "WEIGHTS_STRATEGY": Out(8, 5),
}  # fmt: skip
FACES = {"IPAdapterFaceID", "IPAdapterFaceIDKolors", "IPAAdapterFaceIDBatch", "IPAdapterApplyFaceID"}
SET: dict[str, dict[str, Any]] = {
    "IPAdapter": {"ipadapter": Out(10, 1)},
    "IPAdapterClipVisionEnhancer": {"enhance_tiles": 1},
    "IPAdapterClipVisionEnhancerBatch": {"enhance_tiles": 1},
    "IPAdapterUnifiedLoaderFaceID": {"lora_strength": 0.0},
    "PrepImageForInsightFace": {"pad_around": False},
    "IPAdapterApplyEncoded": {"embeds": Out(11)},
    "IPAdapterApply": {"insightface": None, "clip_vision_output": None},
    "IPAdapterMS": {"insightface": None},
    "IPAdapterEncoder": {"mask": None},
    "IPAdapterEmbeds": {"neg_embed": Out(6, 1)},
    OTHER_IPADAPTER: {"clip_vision_output": None},
}
"""What has to be set so that a node can become ours."""


def with_node(kind: str, **given: Any) -> Graph:
    """A graph of one node with all that it needs, its outputs taken by nodes of others; it is number 20."""
    row = (SIGNATURES | OTHER_SHAPES)[kind]
    sockets = {one.name: SOCKETS.get(one.type) for one in row.inputs if not one.is_widget}
    inputs = widgets(row) | sockets | SET.get(kind, {}) | given
    node = Described(kind, {name: value for name, value in inputs.items() if value is not None})
    return needed(support(kind in FACES) | {20: node} | takers(kind))


def needed(graph: Graph) -> Graph:
    """The graph without those nodes of BASE and support that nothing needs."""
    wanted = [key for key in graph if key >= 20]
    for key in wanted:  # it grows
        sources = [value.node for value in graph[key].inputs.values() if isinstance(value, Out)]
        wanted += [source for source in dict.fromkeys(sources) if source not in wanted]
    return {key: graph[key] for key in sorted(wanted)}


def support(faces: bool = False) -> Graph:
    """Nodes that give what old nodes take."""
    file = "ip-adapter-faceid-plusv2_sd15.bin" if faces else "ip-adapter_sd15.bin"
    encoder = {"ipadapter": Out(4), "image": IMAGE, "clip_vision": VISION, "weight": 1.0}
    region = widgets(SIGNATURES["IPAdapterRegionalConditioning"]) | {"image": IMAGE}
    return BASE | {
        4: Described("IPAdapterModelLoader", {"ipadapter_file": file}),
        5: Described("IPAdapterInsightFaceLoader", {"provider": "CPU", "model_name": "antelopev2"}),
        6: Described("IPAdapterEncoder", encoder),
        7: Described("IPAdapterRegionalConditioning", region),
        8: Described("IPAdapterWeights", widgets(SIGNATURES["IPAdapterWeights"])),
        10: Described("IPAdapterUnifiedLoader", {"model": MODEL, "preset": "PLUS (high strength)"}),
        11: Described(OLD_ENCODER, widgets(OTHER_SHAPES[OLD_ENCODER]) | {"clip_vision": VISION, "image_1": IMAGE}),
    }


def takers(kind: str) -> Graph:
    """Nodes that take the outputs of node 20: of others, or the old node that it is for."""
    behind = {
        "IPAdapterLoadEmbeds": ("IPAdapterEmbeds", {"pos_embed": Out(20), "neg_embed": None}),
        "IPAdapterInsightFaceLoader": ("IPAdapterFaceID", {"insightface": Out(20)}),
        "InsightFaceLoader": ("IPAdapterApplyFaceID", {"insightface": Out(20)}),
        OLD_ENCODER: ("IPAdapterApplyEncoded", {"embeds": Out(20)}),
    }
    if kind in behind:
        other, inputs = behind[kind]
        loader = {4: support(True)[4]} if "insightface" in inputs else {}
        own = with_node(other, **inputs)
        return loader | {21: own[20]}
    outputs = (SIGNATURES | OTHER_SHAPES)[kind].outputs
    plain = [slot for slot, output in enumerate(outputs) if output.type in ("MODEL", "IMAGE", "CLIP_VISION_OUTPUT")]
    taken = plain[:1] if kind == OTHER_IPADAPTER else plain
    return {30 + slot: Described("OtherPack", {"in": Out(20, slot)}) for slot in taken}


def made(graph: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The inputs of the nodes of a kind in a converted prompt."""
    return [node["inputs"] for node in graph.values() if node["class_type"] == kind]


def converted(kind: str, **given: Any) -> dict[str, Any]:
    """The prompt that a graph of a node becomes, in which nothing of it stays."""
    found = convert(prompt(with_node(kind, **given)))
    assert not [line for line in found.lines if "(node 20):" in line and "stays" in line], found.lines
    return found.graph


def reason(kind: str, graph: Graph | None = None, **given: Any) -> str:
    """Why node 20 stays."""
    found = convert(prompt(with_node(kind, **given) if graph is None else graph))
    (line,) = [line for line in found.lines if "(node 20):" in line]
    assert "stays as it is: " in line, line
    return line.partition("stays as it is: ")[2]


def test_every_old_node_has_a_row_and_a_line_of_the_list() -> None:
    assert set(ROWS) == {*SIGNATURES, *OTHER_SHAPES}
    assert [line.split(": ")[0] for line in listing()] == [*SIGNATURES, *OTHER_SHAPES]


@pytest.mark.parametrize("write", [prompt, saved])
@pytest.mark.parametrize("kind", ROWS)
def test_a_node_becomes_what_its_row_says(kind: str, write: Any) -> None:
    found = convert(write(with_node(kind)))
    check_links(found.graph)
    (line,) = [line for line in found.lines if "(node 20):" in line]
    assert ("stays" in line) == (not ROWS[kind].nodes), line
    needed = [word for word in ROWS[kind].nodes.split() if not word.startswith("(")]
    assert set(needed) <= set(types(found.graph)), line


@pytest.mark.parametrize("kind", ROWS)
def test_both_formats_become_the_same_nodes(kind: str) -> None:
    graph = with_node(kind)
    assert types(convert(prompt(graph)).graph) == types(convert(saved(graph)).graph)


def test_values_and_links_are_kept() -> None:
    graph = converted("IPAdapterAdvanced", weight=0.7, combine_embeds="average", start_at=0.1, end_at=0.9,
                      embeds_scaling="K+V", image_negative=SECOND)  # fmt: skip
    (apply,) = made(graph, "IPA_Apply")
    assert [apply[name] for name in ("weight", "start", "end", "unit", "scaling")] == [0.7, 0.1, 0.9, "percent", "K+V"]
    assert (apply["model"], apply["mask"], apply["lora_strength"], apply["skip_middle_block"]) == (
        ["1", 0], ["2", 1], 0.0, False,
    )  # fmt: skip
    (encode,) = [node for node in made(graph, "IPA_Encode") if node["combine"] == "average"]
    assert (encode["image"], encode["negative_image"], encode["clip_vision"]) == (["2", 0], ["9", 0], ["3", 0])
    assert graph[encode["ip_adapter"][0]]["inputs"] == {"file": "ip-adapter_sd15.bin", "variant": "auto"}
    assert graph["30"]["inputs"] == {"in": ["20", 0]} and graph["20"]["class_type"] == "IPA_Apply"


@pytest.mark.parametrize(
    ("weight", "boost", "numbers"),
    [(0.5, 0.25, (0.5, 1.0, 0.5)), (0.0, 0.25, (1.0, 0.0, 0.25)), (0.1, 2.0, (1.0, 0.1, 2.0))],
)
def test_a_second_weight_is_divided_by_the_first_unless_that_is_none(
    weight: float, boost: float, numbers: tuple[float, ...]
) -> None:
    graph = converted("IPAdapterPreciseStyleTransfer", weight=weight, style_boost=boost)
    (apply,), (layers,) = made(graph, "IPA_Apply"), made(graph, "IPA_LayerWeights")
    assert layers["weight_type"] == "style transfer precise"
    found = (apply["weight"], layers["weight"], layers["second_weight"])
    assert found == numbers
    assert found[0] * found[1] == weight and found[0] * found[2] == boost


def test_the_composition_of_style_and_composition_has_weight_1_whatever_the_weight() -> None:
    graph = converted("IPAdapterAdvanced", weight=0.5, weight_type="style and composition")
    (apply,), (layers,) = made(graph, "IPA_Apply"), made(graph, "IPA_LayerWeights")
    assert apply["weight"] * layers["second_weight"] == 1.0 and apply["weight"] * layers["weight"] == 0.5


def test_the_second_weight_of_a_precise_type_follows_the_weight() -> None:
    graph = converted("IPAdapterAdvanced", weight=0.5, weight_type="composition precise")
    (apply,), (layers,) = made(graph, "IPA_Apply"), made(graph, "IPA_LayerWeights")
    assert (apply["weight"], layers["weight"], layers["second_weight"]) == (0.5, 1.0, 1.0)


def test_words_of_before_version_2_mean_what_they_meant() -> None:
    (apply,) = made(converted("IPAdapterApply", weight_type="linear"), "IPA_Apply")
    assert apply["scaling"] == "K+V"
    (apply,) = made(converted("IPAdapterApply", weight_type="channel penalty"), "IPA_Apply")
    assert apply["scaling"] == "K+mean(V) w/ C penalty"


def test_style_and_composition_are_applied_each_by_itself() -> None:
    graph = converted("IPAdapterStyleComposition", image_composition=SECOND, weight_style=0.6, weight_composition=0.4)
    first, second = sorted(made(graph, "IPA_Apply"), key=lambda node: node["model"] != ["1", 0])
    assert (first["weight"], second["weight"]) == (0.6, 0.4)
    kinds = [graph[node["layer_weights"][0]]["inputs"]["weight_type"] for node in (first, second)]
    pictures = [graph[node["image_prompt"][0]]["inputs"]["image"] for node in (first, second)]
    assert kinds == ["style transfer", "composition"] and pictures == [["2", 0], ["9", 0]]
    assert graph["20"]["inputs"] == second


def test_the_encoder_of_a_preset_is_used_unless_another_is_connected() -> None:
    graph = converted("IPAdapterAdvanced", ipadapter=Out(10, 1), clip_vision=None)
    encode = graph[graph["20"]["inputs"]["image_prompt"][0]]["inputs"]
    assert (encode["ip_adapter"], encode["clip_vision"]) == (["10", 0], ["10", 1])
    graph = converted("IPAdapterAdvanced", ipadapter=Out(10, 1))
    assert graph[graph["20"]["inputs"]["image_prompt"][0]]["inputs"]["clip_vision"] == ["3", 0]


def face_graph(**given: Any) -> Graph:
    """A preset with a LoRA, and a node behind it that applies it."""
    loader = {"model": MODEL, "preset": "FACEID PLUS V2", "lora_strength": 0.45, "provider": "CPU"}
    sockets = {"model": Out(12), "ipadapter": Out(12, 1)}
    graph = with_node("IPAdapterFaceID", **given)
    graph[20] = graph[20]._replace(inputs={**graph[20].inputs, **sockets})
    del graph[20].inputs["insightface"], graph[4], graph[5]
    return BASE | graph | {12: Described("IPAdapterUnifiedLoaderFaceID", loader)}


def test_the_lora_of_a_preset_acts_in_the_application_and_that_of_a_file_nowhere() -> None:
    graph = convert(prompt(face_graph(weight_faceidv2=1.5))).graph
    (apply,), (encode,), (face,) = (made(graph, f"IPA_{kind}") for kind in ("Apply", "EncodeFace", "Face"))
    assert (apply["lora_strength"], apply["model"], encode["shortcut"], face["model"]) == (
        0.45, ["1", 0], 1.5, "buffalo_l",
    )  # fmt: skip
    (apply,) = made(converted("IPAdapterFaceID"), "IPA_Apply")
    assert apply["lora_strength"] == 0.0


def test_a_preset_stays_whose_lora_also_acts_elsewhere() -> None:
    graph = face_graph() | {40: Described("KSampler", {"model": Out(12)})}
    found = convert(prompt(graph))
    assert any("(node 12):" in line and "LoRA" in line for line in found.lines)
    assert "IPAdapter Unified Loader FaceID (node 12)" in reason("", graph)


def test_faces_are_read_with_the_networks_of_their_loader_and_shown() -> None:
    graph = converted("IPAdapterFaceID")
    (face,) = made(graph, "IPA_Face")
    assert face["model"] == "antelopev2"
    shown = graph["31"]["inputs"]["in"]
    assert graph[shown[0]]["class_type"] == "IPA_Face" and shown[1] == 1


def test_old_numbers_leave_the_middle_out_and_average_as_the_old_pack() -> None:
    graph = prompt(with_node("IPAdapterAdvanced", combine_embeds="norm average"))
    right, old = convert(graph).graph, convert(graph, OLD).graph
    for found, skips, combine in ((right, False, "norm average"), (old, True, "norm average (IPAdapter Plus)")):
        assert found["20"]["inputs"]["skip_middle_block"] is skips
        assert found[found["20"]["inputs"]["image_prompt"][0]]["inputs"]["combine"] == combine


def test_a_picture_is_prepared_as_before() -> None:
    graph = converted("PrepImageForClipVision", crop_position="top", interpolation="bicubic", sharpening=0.2)
    inputs = graph["20"]["inputs"]
    assert [inputs[name] for name in ("crop", "size", "interpolation", "sharpen")] == ["top", 224, "BICUBIC", 0.2]


def test_padding_with_black_stays_black() -> None:
    inputs = converted("PrepImageForClipVision", crop_position="pad")["20"]["inputs"]
    assert (inputs["crop"], inputs["border"]) == ("pad", "black")
    assert converted("PrepImageForClipVision", crop_position="left")["20"]["inputs"]["border"] == "grey"


def test_several_pictures_of_the_first_encoder_become_a_batch() -> None:
    graph = BASE | with_node("IPAdapterApplyEncoded")
    graph[11].inputs["image_3"] = SECOND
    found = convert(prompt(graph)).graph
    (batch,) = made(found, "ImageBatch")
    assert (batch["image1"], batch["image2"]) == (["2", 0], ["9", 0])
    assert found[found["20"]["inputs"]["image_prompt"][0]]["inputs"]["image"][0] in found


def test_embeds_of_files_are_loaded_where_they_are_applied() -> None:
    graph = with_node("IPAdapterEmbeds")
    graph[20].inputs.update(pos_embed=Out(13), neg_embed=Out(14))
    names = {13: "a.ipadpt", 14: "b.ipadpt"}
    graph |= {key: Described("IPAdapterLoadEmbeds", {"embeds": name}) for key, name in names.items()}
    del graph[6]
    found = convert(prompt(graph)).graph
    (load,) = made(found, "IPA_LoadPrompt")
    assert (load["file"], load["negative"]) == ("a.ipadpt [input]", "b.ipadpt [input]")


def test_a_number_through_a_link_stays_linked() -> None:
    graph = with_node("IPAdapterAdvanced") | {15: Described("PrimitiveNode")}
    graph[20].inputs["weight"] = Out(15)
    assert convert(prompt(graph)).graph["20"]["inputs"]["weight"] == ["15", 0]


@pytest.mark.parametrize(
    ("kind", "given", "why"),
    [
        ("IPAdapterAdvanced", {"weight_type": Out(2)}, "its weight_type comes through a link"),
        ("IPAdapterAdvanced", {"weight_type": "no such"}, "its weight_type is"),
        ("IPAdapterAdvanced", {"weight": "much"}, "its weight is"),
        ("IPAdapterAdvanced", {"model": None}, "connect its model first"),
        ("IPAdapterAdvanced", {"clip_vision": None}, "connect its clip_vision first"),
        ("IPAdapterAdvanced", {"ipadapter": Out(2)}, "comes from a node of others"),
        ("IPAdapterAdvanced", {"weight": Out(8)}, "its weight comes through a link"),
        ("IPAdapterBatch", {"weight": Out(2)}, "its weight comes through a link"),
        ("IPAdapterBatch", {"encode_batch_size": SECOND}, "no node of ours takes that"),
        ("IPAdapterApply", {"noise": 0.3}, "no node of ours has its noise"),
        ("IPAdapterFaceIDKolors", {"weight_kolors": 0.5}, "no node of ours has its weight_kolors"),
        ("IPAdapterMS", {"layer_weights": "3:1", "weight_type": "style transfer precise"}, "pushes away"),
        ("IPAdapterMS", {"layer_weights": "3:1, 16:1"}, "layers that not every model has"),
        ("IPAdapterAdvanced", {"start_at": 0.8, "end_at": 0.2}, "acts in no step"),
        ("IPAdapterAdvanced", {"combine_embeds": "no such"}, "its combine_embeds is"),
        ("IPAdapterAdvanced", {"embeds_scaling": "no such"}, "its embeds_scaling is"),
        ("IPAdapterEncoder", {"weight": 0.5}, "weighs or masks"),
        ("IPAdapterCombineEmbeds", {"method": "max"}, "by max"),
        ("IPAdapterUnifiedLoader", {"preset": "VIT-G (medium strength)"}, "alone"),
        ("IPAdapterUnifiedLoader", {"preset": "None"}, "its preset is"),
        ("IPAdapterNoise", {}, "draws its noise by the picture"),
        ("IPAdapterEmbeds", {"neg_embed": Out(6)}, "its neg_embed is made of a picture"),
        (OTHER_IPADAPTER, {"clip_vision_output": Out(2)}, "clip_vision_output"),
    ],
)
def test_what_cannot_be_carried_over_stays_and_says_why(kind: str, given: dict[str, Any], why: str) -> None:
    assert why in reason(kind, **given)


def test_a_loader_stays_for_a_node_that_stays_and_with_it_all_others_behind_it() -> None:
    graph = with_node("IPAdapterAdvanced") | {22: with_node("IPAdapterTiled")[20]}
    found = convert(prompt(graph)).graph
    assert found["4"]["class_type"] == "IPAdapterModelLoader"
    assert found["20"]["class_type"] == "IPAdapterAdvanced"
    assert "IPAdapter Tiled (node 22), which takes its IPADAPTER, stays" in str(convert(prompt(graph)).lines)


def test_a_loader_stays_for_a_node_of_others() -> None:
    graph = with_node("IPAdapterAdvanced") | {22: Described("OtherPack", {"ipadapter": Out(4)})}
    assert "IPAdapter Model Loader (node 4)" in reason("", graph)


def test_a_node_stays_whose_loader_is_switched_off() -> None:
    graph = with_node("IPAdapterAdvanced")
    graph[4] = graph[4]._replace(mode=4)
    assert "switched off" in str([line for line in convert(saved(graph)).lines if "(node 20):" in line])
