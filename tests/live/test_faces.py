"""Faces in whole graphs on a running ComfyUI: FaceID kinds, their LoRA, a model like Kolors."""

from typing import Any

import numpy as np
import pytest

from live import faces
from live.faces import NONE, ONE, TWO, Faced
from live.graphs import Graph, Node, text_to_image
from live.kinds import OF_FACES
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


@pytest.mark.parametrize("kind", OF_FACES)
def test_faces_through_the_old_node_are_ours_bit_for_bit(stocked: Server, kind: str) -> None:
    def hook(graph: Graph, model: Any) -> Node:
        adapter = graph.add("IPAdapterModelLoader", ipadapter_file=named(f"{kind}.bin"))
        reader = graph.add("IPAdapterInsightFaceLoader", provider="CPU", model_name="buffalo_l")
        tower = graph.add("IPA_LoadVision", file=named("tower.safetensors"), activation="auto")
        image = graph.add("LoadImage", image=ONE)
        links = {"ipadapter": adapter, "insightface": reader, "clip_vision": tower, "image": image}
        values = {"weight": 1.0, "weight_faceidv2": 1.0, "weight_type": "linear", "combine_embeds": "concat"}
        return graph.add("IPAdapterFaceID", model=model, **links, **values, start_at=0.0, end_at=1.0)

    assert np.array_equal(run(stocked, hook).image(), run(stocked, Faced(kind, lora=0.0)).image())
