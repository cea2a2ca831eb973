"""Faces in whole graphs on a running ComfyUI: FaceID kinds, their LoRA, a model like Kolors."""

from typing import Any

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.attention.projection import METHODS
from comfyui_ip_adapter.ip_adapter_core.compat.instantid import SIGNATURES as INSTANTID
from live import faces
from live.faces import NONE, ONE, TWO, Faced
from live.graphs import ConditioningHook, Graph, Node, control, text_to_image
from live.kinds import OF_FACES, OF_PULID
from live.prompting import difference
from live.results import ExecutionError, Result
from live.server import Server
from live.specimens import named

ACTS = 1.0  # mean difference in levels, above which a picture is another one


@pytest.fixture(scope="module")
def stocked(server: Server) -> Server:
    """A server with face networks, adapters that read faces, and pictures with faces."""
    return faces.stock(server)


def run(server: Server, hook: Any) -> Result:
    return server.run(text_to_image(hook))


@pytest.mark.parametrize("kind", OF_FACES)
def test_a_face_changes_the_picture_and_at_weight_zero_nothing_does(
    stocked: Server, plain: np.ndarray, kind: str
) -> None:
    assert difference(run(stocked, Faced(kind)).image(), plain) > ACTS
    assert np.array_equal(run(stocked, Faced(kind, weight=0.0)).image(), plain)


def test_the_lora_of_the_file_acts_and_can_be_left_out(stocked: Server) -> None:
    with_lora, without = (run(stocked, Faced(lora=strength)).image() for strength in (1.0, 0.0))
    assert difference(with_lora, without) > ACTS


def test_the_picture_speaks_as_loud_as_the_shortcut_says(stocked: Server) -> None:
    loud, silent = (run(stocked, Faced("FaceID-Plus v2", shortcut=value)).image() for value in (1.0, 0.0))
    assert difference(loud, silent) > ACTS


def test_all_faces_of_a_picture_make_one_prompt(stocked: Server) -> None:
    result = run(stocked, Faced(image=TWO, which="all"))
    assert len(result.images("face")) == 2
    assert difference(result.image(), run(stocked, Faced(image=TWO)).image()) > 0


def test_a_pack_of_faces_that_graphs_name_is_another_here_which_is_said(stocked: Server) -> None:
    graph = text_to_image(Faced())
    graph["face"]["inputs"]["model"] = "buffalo_l"
    result = stocked.run(graph)
    assert np.array_equal(result.image(), run(stocked, Faced()).image())
    assert "as there is no buffalo_l" in result.outputs["face"]["text"][0]


def test_a_picture_without_a_face_is_refused_saying_so(stocked: Server) -> None:
    with pytest.raises(ExecutionError, match="no face was found") as failed:
        run(stocked, Faced(image=NONE))
    assert failed.value.node_type == "IPA_Face"


def test_the_wrong_way_to_encode_is_named(stocked: Server) -> None:
    def hook(graph: Graph, model: Any) -> Node:
        adapter = graph.add("IPA_LoadAdapter", "adapter", file=named("FaceID.bin"), variant="auto")
        tower = graph.add("IPA_LoadVision", file=named("tower.safetensors"), activation="auto")
        image = graph.add("LoadImage", image=ONE)
        prompt = graph.add("IPA_Encode", ip_adapter=adapter, clip_vision=tower, image=image, fit="center crop")
        return graph.add("IPA_Apply", model=model, image_prompt=prompt, weight=1.0, start=0.0, end=1.0, unit="percent")

    with pytest.raises(ExecutionError, match="Use Face Embedding and Encode Face Prompt"):
        run(stocked, hook)


def instant_id(strength: float = 0.8, kind: str = "portrait unnorm", before: ConditioningHook | None = None) -> Graph:
    """Both halves of InstantID, behind another ControlNet if there is one."""

    def hook(graph: Graph, positive: Any, negative: Any) -> tuple[Any, Any]:
        Faced(kind)(graph, ["loader", 0])
        points = graph.add("IPA_FaceKeyPoints", "points", faces=["face", 0], width=64, height=64)
        network = graph.add("ControlNetLoader", control_net_name="tiny.safetensors")
        texts = (positive, negative) if before is None else before(graph, positive, negative)
        links = {"control_net": network, "image_prompt": ["encode", 0], "key_points": points}
        sides = {"positive": texts[0], "negative": texts[1]}
        applied = graph.add("IPA_InstantIDControl", **sides, **links, strength=strength, start=0.0, end=1.0)
        return applied[0], applied[1]

    return text_to_image(lambda graph, model: ["apply", 0], hook)


def test_instantid_acts_with_both_halves_and_without_its_controlnet_there_is_the_image_prompt_left(
    stocked: Server,
) -> None:
    result = stocked.run(instant_id())
    prompted = run(stocked, Faced("portrait unnorm")).image()
    assert [picture.shape for picture in result.images("points")] == [(256, 256, 3)]
    assert difference(result.image(), prompted) > ACTS
    off = stocked.run(instant_id(strength=0.0))
    assert np.array_equal(off.image(), prompted)


def test_instantid_and_another_controlnet_both_act(stocked: Server) -> None:
    both, alone = (stocked.run(instant_id(before=hook)).image() for hook in (control, None))
    assert difference(both, alone) > ACTS


def test_instantids_controlnet_refuses_the_tokens_of_another_kind(stocked: Server) -> None:
    with pytest.raises(ExecutionError, match=r"Encode the face with InstantID's ip-adapter\.bin") as failed:
        stocked.run(instant_id(kind="FaceID"))
    assert failed.value.node_type == "IPA_InstantIDControl"


@pytest.mark.parametrize("kind", OF_FACES)
def test_faces_through_the_old_node_are_ours_bit_for_bit(stocked: Server, kind: str) -> None:
    def hook(graph: Graph, model: Any) -> Node:
        adapter = graph.add("IPAdapterModelLoader", ipadapter_file=named(f"{kind}.bin"))
        reader = graph.add("IPAdapterInsightFaceLoader", provider="CPU", model_name="buffalo_l")
        file = Faced(kind).tower or "tower.safetensors"
        tower = graph.add("IPA_LoadVision", file=named(file), activation="auto")
        image = graph.add("LoadImage", image=ONE)
        links = {"ipadapter": adapter, "insightface": reader, "clip_vision": tower, "image": image}
        values = {"weight": 1.0, "weight_faceidv2": 1.0, "weight_type": "linear", "combine_embeds": "concat"}
        return graph.add("IPAdapterFaceID", model=model, **links, **values, start_at=0.0, end_at=1.0)

    assert np.array_equal(run(stocked, hook).image(), run(stocked, Faced(kind, lora=0.0)).image())


def pulid(kind: str, how: str, method: str = "auto") -> Graph:
    """The first face with PuLID; how: what says which part of the picture is face."""
    faced = Faced(kind)

    def hook(graph: Graph, model: Any) -> Node:
        faced(graph, model)
        encode, apply = graph["encode"]["inputs"], graph["apply"]["inputs"]
        apply["method"] = method
        if how == "reference_mask":
            white = graph.add("SolidMask", value=1.0, width=512, height=256)
            black = graph.add("SolidMask", value=0.0, width=512, height=512)
            links = {"destination": black, "source": white}
            encode["reference_mask"] = graph.add("MaskComposite", **links, x=0, y=0, operation="add")[0]
        if how == "alpha":
            encode["alpha"] = True
            ground = graph.add("SolidMask", value=1.0, width=640, height=480)
            links = {"destination": ground, "source": graph.add("SolidMask", value=0.0, width=60, height=30)}
            mask = graph.add("MaskComposite", **links, x=200, y=150, operation="multiply")
            face = graph["face"]["inputs"]
            face["image"] = graph.add("JoinImageWithAlpha", image=face["image"], alpha=mask)[0]
        return Node("apply")

    return text_to_image(hook)


@pytest.mark.parametrize("kind", OF_PULID)
def test_pulid_sees_a_grey_face_on_white_where_a_mask_or_transparency_says_so(stocked: Server, kind: str) -> None:
    seen, pictures = {}, {}
    for how in ("", "reference_mask", "alpha"):
        result = stocked.run(pulid(kind, how))
        (seen[how],), pictures[how] = result.images("encode"), result.image()
        assert ("All of the face's picture is read" in result.outputs["encode"]["text"][0]) == (how == "")
        assert ("became white" in result.outputs["encode"]["text"][0]) == (how != "")
    for picture in seen.values():
        assert picture.shape == (224, 224, 3)
        assert np.ptp(picture.astype(int), axis=-1).max() == 0
    assert seen[""].min(axis=(1, 2)).max() < 250
    assert seen["reference_mask"][120:].min() >= 254
    assert np.array_equal(seen["reference_mask"][:100], seen[""][:100])
    assert seen["alpha"][190:].min() >= 254
    assert difference(pictures[""], pictures["alpha"]) > 0
    assert difference(pictures[""], pictures["reference_mask"]) > 0


def test_pulids_methods_differ_and_auto_is_that_of_the_version(stocked: Server) -> None:
    found = {method: stocked.run(pulid("PuLID v1", "", method)).image() for method in ("auto", *METHODS)}
    assert np.array_equal(found["auto"], found["fidelity"])
    assert all(difference(found["fidelity"], found[other]) > 0 for other in ("editable", "style", "neutral"))


def test_pulid_refuses_an_encoder_without_levels(stocked: Server) -> None:
    graph = text_to_image(Faced("PuLID v1"))
    for node in graph.values():
        if node["class_type"] == "IPA_LoadVision":
            node["inputs"]["file"] = named("tower.safetensors")
    with pytest.raises(ExecutionError, match="reads normed_embeds of width 64, and that gives none") as failed:
        stocked.run(graph)
    assert failed.value.node_type == "IPA_EncodeFace"


# Graphs of ComfyUI_InstantID


def from_there(node: str, **inputs: Any) -> Graph:
    """Its loaders, before one of its nodes for both halves; or the two for each half."""

    def hook(graph: Graph, positive: Any, negative: Any) -> tuple[Any, Any]:
        network = graph.add("ControlNetLoader", control_net_name="tiny.safetensors")
        face = {
            "instantid": graph.add("InstantIDModelLoader", "adapter", instantid_file="ip-adapter.bin"),
            "insightface": graph.add("InstantIDFaceAnalysis", "reader", provider="CPU"),
            "image": graph.add("LoadImage", "face", image=ONE),
            "model": ["loader", 0],
        }
        sides, span = {"positive": positive, "negative": negative}, {"start_at": 0.0, "end_at": 1.0}
        if node != "ApplyInstantIDControlNet":
            applied = graph.add(node, "apply", **face, **sides, **span, control_net=network, **inputs)
            return applied[1], applied[2]
        patched = graph.add("InstantIDAttentionPatch", "apply", **face, **span, weight=0.8, noise=0.0)
        points = graph.add("FaceKeypointsPreprocessor", "points", faceanalysis=["reader", 0], image=["face", 0])
        links = {"face_embeds": patched[1], "control_net": network, "image_kps": points}
        applied = graph.add(node, **links, **sides, **span, **inputs)
        return applied[0], applied[1]

    return text_to_image(lambda graph, model: ["apply", 0], hook)


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        ("ApplyInstantID", {"weight": 0.8}),
        (
            "ApplyInstantIDAdvanced",
            {"ip_weight": 0.8, "cn_strength": 0.8, "noise": 0.3, "combine_embeds": "norm average"},
        ),
        ("ApplyInstantIDControlNet", {"strength": 0.8}),
    ],
)
def test_a_prompt_with_the_nodes_of_instantid_runs(
    stocked: Server, plain: np.ndarray, node: str, inputs: dict[str, Any]
) -> None:
    result = stocked.run(from_there(node, **inputs))
    assert difference(result.image(), plain) > ACTS
    assert "Took" in result.outputs.get("adapter", {}).get("text", ["Took"])[0]


def test_the_nodes_of_instantid_are_registered_and_hidden(stocked: Server) -> None:
    about = stocked.object_info()
    assert all(about[node]["deprecated"] and "IP-Adapter" in about[node]["category"] for node in INSTANTID)
