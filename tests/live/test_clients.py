"""Programs that use the nodes of IPAdapter Plus over HTTP find them, and their prompts run and mean what they meant."""

from typing import Any

import numpy as np
import pytest

from live import clients, faces, prompting
from live.clients import Krita, swarm
from live.faces import ONE, Faced
from live.graphs import Graph, Node, text_to_image
from live.old_graphs import advanced
from live.prompting import OTHER, REFERENCE, Prompted, Simply, difference, picture
from live.server import Server
from live.specimens import named

NEAR = 0.05  # mean difference in levels: rounding, where pictures are encoded in one batch or apart


@pytest.fixture(scope="module")
def stocked(server: Server) -> Server:
    """A server with pictures and faces to refer to, and what reads them."""
    return prompting.stock(faces.stock(server))


@pytest.fixture(scope="module")
def about(stocked: Server) -> clients.About:
    """What the programs read of the server."""
    return stocked.object_info()


@pytest.fixture(scope="module")
def krita(about: clients.About) -> Krita:
    """Krita, connected."""
    return Krita(about)


# Krita AI Diffusion


def test_krita_connects_and_finds_the_files_in_its_list(about: clients.About) -> None:
    assert set(clients.KRITA_NEEDS) <= set(about)
    files = clients.krita_options(about, "IPAdapterModelLoader", "ipadapter_file")
    assert named("base.safetensors") in files
    assert clients.krita_file(files, ["ip-adapter_sd15"]) == "ip-adapter_sd15.safetensors"


def test_a_reference_layer_of_krita_is_our_picture_bit_for_bit(
    stocked: Server, krita: Krita, plain: np.ndarray, prompted: np.ndarray
) -> None:
    found = picture(stocked, krita.references({REFERENCE: 1.0}))
    assert np.array_equal(found, prompted)
    assert difference(found, plain) > 0


def test_two_reference_layers_of_krita_are_a_batch_of_ours(stocked: Server, krita: Krita) -> None:
    found = picture(stocked, krita.references({REFERENCE: 1.0, OTHER: 1.0}))
    assert difference(found, picture(stocked, Prompted(images=(REFERENCE, OTHER)))) < NEAR
    assert difference(found, picture(stocked, krita.references({REFERENCE: 1.0, OTHER: 0.5}))) > NEAR


@pytest.mark.parametrize("mode", clients.KRITA_TYPES)
def test_every_mode_of_krita_is_our_weight_type(stocked: Server, krita: Krita, mode: str) -> None:
    found = picture(stocked, krita.references({REFERENCE: 1.0}, file="plus", mode=mode, span=(0.1, 0.8)))
    ours = advanced(adapter="plus", weight_type=clients.KRITA_TYPES[mode], start_at=0.1, end_at=0.8)
    assert np.array_equal(found, picture(stocked, ours))


def test_a_mask_of_krita_covering_all_is_no_mask(stocked: Server, krita: Krita, prompted: np.ndarray) -> None:
    def everywhere(graph: Graph, model: Any) -> Node:
        return graph.add("SolidMask", value=1.0, width=64, height=64)

    found = picture(stocked, krita.references({REFERENCE: 1.0}, mask=everywhere))
    assert difference(found, prompted) < NEAR


@pytest.mark.parametrize("kind", ["FaceID-Plus v2", "FaceID"])
def test_a_face_layer_of_krita_is_our_picture_bit_for_bit(
    stocked: Server, krita: Krita, plain: np.ndarray, kind: str
) -> None:
    found = picture(stocked, krita.face(ONE, kind, strength=0.7))
    assert np.array_equal(found, picture(stocked, Faced(kind, weight=0.7, shortcut=1.4, lora=0.0)))
    assert difference(found, plain) > 0


def test_krita_gets_the_id_back_under_which_it_posted(stocked: Server, krita: Krita) -> None:
    prompt_id = "0b7dd7a7-4f5c-4d3e-9a0b-2f6e2c1b7a10"
    graph = text_to_image(krita.references({REFERENCE: 1.0}))
    answer = stocked.post("/prompt", {"prompt": graph, "client_id": "krita", "prompt_id": prompt_id})
    assert answer["prompt_id"] == prompt_id


# SwarmUI


def test_swarm_turns_on_ip_adapters_and_fills_its_menus(about: clients.About) -> None:
    assert clients.swarm_features(about) == {"ipadapter", "cubiqipadapter", "cubiqipadapterunified"}
    models = clients.swarm_models(about)
    assert {"PLUS (high strength)", "FACEID PLUS V2", f"file:{named('base.safetensors')}"} <= set(models)
    assert clients.swarm_weight_types(about) == ["standard", "prompt is more important", "style transfer"]


def test_a_preset_of_swarm_is_our_picture_bit_for_bit(stocked: Server, plain: np.ndarray) -> None:
    found = picture(stocked, swarm("PLUS (high strength)"))
    assert np.array_equal(found, picture(stocked, Simply(kind="plus")))
    assert difference(found, plain) > 0


def test_a_file_of_swarm_is_our_picture_bit_for_bit(stocked: Server, prompted: np.ndarray) -> None:
    assert np.array_equal(picture(stocked, swarm(f"file:{named('base.safetensors')}")), prompted)


@pytest.mark.parametrize("word", ["prompt is more important", "style transfer"])
def test_every_weight_type_of_swarm_means_the_same_with_a_preset_and_a_file(stocked: Server, word: str) -> None:
    found = picture(stocked, swarm(f"file:{named('base.safetensors')}", weight=0.8, weight_type=word))
    today = {"prompt is more important": "ease out"}.get(word, word)
    assert np.array_equal(found, picture(stocked, advanced(weight=0.8, weight_type=today)))
    assert difference(picture(stocked, swarm("PLUS (high strength)", weight_type=word)), found) > 0


def test_a_face_preset_of_swarm_brings_its_lora_once(stocked: Server) -> None:
    found = picture(stocked, swarm("FACEID", image=ONE))
    assert np.array_equal(found, picture(stocked, our_face))


def our_face(graph: Graph, model: Any) -> Node:
    """The face kind that fits, with the LoRA as strong as SwarmUI asks for."""
    adapter = graph.add("IPA_AutoLoad", model=model, kind="FaceID")
    prompt = graph.add("IPA_EncodeFace", ip_adapter=adapter, faces=Faced().faces(graph), shortcut=1.0)
    span = {"start": 0.0, "end": 1.0, "unit": "percent", "lora_strength": 0.6}
    return graph.add("IPA_Apply", model=model, image_prompt=prompt, weight=1.0, **span)


@pytest.mark.parametrize("request_of", [clients.swarm_of_2023, clients.swarm_of_the_other_pack])
def test_what_swarm_sends_to_packs_of_other_times_is_our_picture_bit_for_bit(
    stocked: Server, prompted: np.ndarray, request_of: Any
) -> None:
    assert np.array_equal(picture(stocked, request_of), prompted)
