"""Who types the name of an old node finds the own node that does what it did, as the editor searches."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.signatures import SIGNATURES
from node_search import Sought, search
from schemas import schemas

pytestmark = pytest.mark.usefixtures("comfy")

SUCCESSORS = {
    "IPAdapter": "IPA_Simple",
    "IPAdapter Advanced": "IPA_Apply",
    "IPAdapter Batch (Adv.)": "IPA_Encode",
    "IPAdapter FaceID": "IPA_EncodeFace",
    "IPAdapter FaceID Kolors": "IPA_EncodeFace",
    "IPAdapter FaceID Batch": "IPA_EncodeFace",
    "IPAdapter Tiled": "IPA_Encode",
    "IPAdapter Tiled Batch": "IPA_Encode",
    "IPAdapter Embeds": "IPA_Apply",
    "IPAdapter Embeds Batch": "IPA_Apply",
    "IPAdapter Style & Composition SDXL": "IPA_StyleComposition",
    "IPAdapter Style & Composition Batch SDXL": "IPA_StyleComposition",
    "IPAdapter Mad Scientist": "IPA_LayerWeights",
    "IPAdapter ClipVision Enhancer": "IPA_Encode",
    "IPAdapter ClipVision Enhancer Batch": "IPA_Encode",
    "IPAdapter from Params": "IPA_ApplyRegions",
    "IPAdapter Precise Style Transfer": "IPA_LayerWeights",
    "IPAdapter Precise Style Transfer Batch": "IPA_LayerWeights",
    "IPAdapter Precise Composition": "IPA_LayerWeights",
    "IPAdapter Precise Composition Batch": "IPA_LayerWeights",
    "IPAdapter Unified Loader": "IPA_AutoLoad",
    "IPAdapter Unified Loader FaceID": "IPA_AutoLoad",
    "IPAdapter Unified Loader Community": "IPA_AutoLoad",
    "IPAdapter Model Loader": "IPA_LoadAdapter",
    "IPAdapter InsightFace Loader": "IPA_Face",
    "IPAdapter Encoder": "IPA_Encode",
    "IPAdapter Combine Embeds": "IPA_Combine",
    "IPAdapter Noise": "IPA_Noise",
    "Prep Image For ClipVision": "IPA_Prepare",
    "IPAdapter Save Embeds": "IPA_SavePrompt",
    "IPAdapter Load Embeds": "IPA_LoadPrompt",
    "IPAdapter Weights": "IPA_Schedule",
    "IPAdapter Combine Weights": "IPA_Schedule",
    "IPAdapter Weights From Strategy": "IPA_Schedule",
    "Prompt Schedule From Weights Strategy": "IPA_Schedule",
    "IPAdapter Regional Conditioning": "IPA_Region",
    "IPAdapter Combine Params": "IPA_ApplyRegions",
    "Apply IPAdapter": "IPA_Apply",
    "Encode IPAdapter Image": "IPA_Encode",
    "Apply IPAdapter from Encoded": "IPA_Apply",
    "IPAdapter Batch Embeds": "IPA_Combine",
    "Load InsightFace": "IPA_Face",
    "Prepare Image For InsightFace": "IPA_Prepare",
    "Apply IPAdapter FaceID": "IPA_EncodeFace",
    "IPAdapter Masked Tiles (experimental)": "IPA_Encode",
    "Load IPAdapter": "IPA_LoadAdapter",
}
"""What people saw on an old node -> the own node that is the next to look at."""

SECOND = {"IPAdapter Batch Embeds"}
"""Names that find another own node before their successor: three old nodes had these words, in other orders."""

FIRST = ["IPA_Simple", "IPA_LoadAdapter", "IPA_AutoLoad", "IPA_Apply", "IPA_Encode"]
"""What *ipadapter* gives: the one node that does everything, then the nodes of the longer way in their order."""


def ours() -> list[Sought]:
    return [
        Sought(node, schema.display_name, tuple(schema.search_aliases), bool(schema.is_deprecated))
        for node, schema in schemas().items()
    ]


def old() -> list[Sought]:
    """The old nodes as they are registered here."""
    from comfyui_ip_adapter.nodes.compat.classes import CLASSES, NAMES

    return [Sought(node, NAMES[node], deprecated=made.DEPRECATED) for node, made in CLASSES.items()]


@pytest.mark.parametrize("name", SUCCESSORS)
def test_the_name_of_an_old_node_finds_its_successor(name: str) -> None:
    found = search(name, [*old(), *ours()])
    place = 1 if name in SECOND else 0
    assert found[place : place + 1] == [SUCCESSORS[name]], f"Change the aliases: {name} finds {found[:4]}."


def test_every_name_of_the_old_pack_has_a_successor() -> None:
    names = {signature.name for signature in SIGNATURES.values()}
    assert not names - SUCCESSORS.keys()


@pytest.mark.parametrize("typed", ["ipadapter", "IPAdapter", "IPADAPTER"])
def test_the_word_for_all_of_them_finds_the_main_nodes_first_and_in_order(typed: str) -> None:
    assert search(typed, [*old(), *ours()])[: len(FIRST)] == FIRST


@pytest.mark.parametrize("typed", ["ip-adapter", "ip adapter"])
def test_the_name_as_it_is_written_finds_the_one_node_then_the_loader(typed: str) -> None:
    assert search(typed, ours())[:2] == FIRST[:2]


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("style transfer", "IPA_LayerWeights"),
        ("faceid", "IPA_Face"),
        ("reference", "IPA_Prepare"),
        ("region", "IPA_Region"),
        ("InstantID Apply ControlNet", "IPA_InstantIDControl"),
        ("Face Keypoints Preprocessor", "IPA_FaceKeyPoints"),
    ],
)
def test_what_people_want_to_do_finds_the_node_for_it(typed: str, first: str) -> None:
    assert search(typed, ours())[0] == first


def test_old_nodes_are_hidden_and_would_come_first_if_they_were_not() -> None:
    """It is because of this that they are registered as deprecated, which the search leaves out."""
    assert not set(search("ipadapter", old()))
    shown = [node._replace(deprecated=False) for node in old()]
    assert search("ipadapter", [*shown, *ours()])[0] == "IPAdapter"


def test_a_name_that_no_node_has_finds_nothing() -> None:
    assert not search("controlnet union", ours())
