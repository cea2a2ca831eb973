"""Names of files in saved graphs become those of this computer, on the nodes that have such names and nowhere else."""

from copy import deepcopy
from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.file_names import (
    ADAPTER,
    EMBEDS,
    ENCODER,
    FACES,
    INSTANTID,
    PLACES,
    Taken,
    take_files,
)

HERE = {
    (ADAPTER, "a\\b.bin"): "b.safetensors",
    (ADAPTER, "b.safetensors"): "b.safetensors",
    (ENCODER, "v.bin"): "v.pth",
}


def find(kind: str, name: str) -> tuple[str, str] | None:
    found = HERE.get((kind, name))
    return None if found is None else (found, f"Took {found} for {name}.")


def graph(kind: str, *values: Any) -> dict[str, Any]:
    return {"nodes": [{"id": 1, "type": kind, "widgets_values": list(values)}]}


@pytest.mark.parametrize("kind", ["IPAdapterModelLoader", "IPA_LoadAdapter"])
def test_a_file_has_its_name_here_and_the_rest_stays(kind: str) -> None:
    saved = graph(kind, "a\\b.bin", "auto")
    assert take_files(saved, PLACES, find) == [Taken(kind, "b.safetensors", "Took b.safetensors for a\\b.bin.")]
    assert saved == graph(kind, "b.safetensors", "auto")


def test_encoders_have_names_of_their_own() -> None:
    saved = graph("IPA_LoadVision", "v.bin", "auto")
    take_files(saved, PLACES, find)
    assert saved == graph("IPA_LoadVision", "v.pth", "auto")


@pytest.mark.parametrize("name", ["b.safetensors", "gone.bin", None, 3, ["a"]])
def test_a_right_name_and_one_that_means_nothing_stay(name: Any) -> None:
    saved = graph("IPAdapterModelLoader", name)
    before = deepcopy(saved)
    assert take_files(saved, PLACES, find) == []
    assert saved == before


def test_what_is_taken_without_a_remark_is_not_told() -> None:
    """A file of a face model stands for the model that is here, as nobody chose it by that name."""
    asked = []
    saved = graph("IPA_Face", "auraface/a.onnx", "largest")
    assert take_files(saved, PLACES, lambda *what: asked.append(what) or ("auraface", "")) == []
    assert saved == graph("IPA_Face", "auraface", "largest")
    assert asked == [(FACES, "auraface/a.onnx")]


def test_nodes_without_a_place_stay() -> None:
    saved = graph("CheckpointLoaderSimple", "a\\b.bin")
    assert take_files(saved, PLACES, find) == []
    assert take_files(graph("IPAdapterModelLoader", "a\\b.bin"), {}, find) == []


def test_files_in_subgraphs_are_found_too() -> None:
    saved = {"nodes": [], "definitions": {"subgraphs": [{"id": "s", **graph("IPAdapterModelLoader", "a\\b.bin")}]}}
    assert len(take_files(saved, PLACES, find)) == 1


def test_every_old_menu_of_files_has_a_place() -> None:
    assert {node: PLACES[node].kind for node in PLACES if not node.startswith("IPA_")} == {
        "IPAdapterModelLoader": ADAPTER,
        "IPAdapterLoadEmbeds": EMBEDS,
        "IPAdapter (laksjdjf)": ADAPTER,
        "InstantIDModelLoader": INSTANTID,
    }
