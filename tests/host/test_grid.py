"""What an Image Prompt Grid becomes for adapters that read more than pictures, and what is refused before sampling."""

from pathlib import Path
from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.faces.features import Faces
from comfyui_ip_adapter.ip_adapter_core.settings.grid import Cell, read_grid
from comfyui_ip_adapter.ip_adapter_core.settings.instruction import Instruction
from telling import loaded

pytestmark = pytest.mark.usefixtures("comfy")

NOTHING = ("nothing", "")
WEIGHTS = read_grid(("weight", "0.5, 1"), NOTHING, 2)
REFERENCES = read_grid(NOTHING, ("reference", ""), 2)
FACES = Faces(torch.randn(1, 512, generator=torch.Generator().manual_seed(0)))
SAID = Instruction(*(torch.zeros(1, 7, 64) for _ in range(4)))
SOCKETS = {name: [name, 0] for name in ("model", "ip_adapter", "clip_vision", "references", "positive", "negative")}


def expanded(grid: Any, method: str = "auto", **optional: Any) -> list[dict[str, Any]]:
    """The nodes that a grid becomes; optional: where its optional inputs come from."""
    from comfyui_ip_adapter.nodes.host.grid import Links, Prompting, expand

    links = Links(**SOCKETS, latent=["latent", 0], vae=["vae", 0], **optional)
    nodes, _ = expand(grid, grid.cells(Cell()), links, Prompting(method=method), {"steps": 1})
    return list(nodes.values())


def inputs_of(nodes: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [node["inputs"] for node in nodes if node["class_type"] == kind]


def sheet_rows(nodes: list[dict[str, Any]], columns: int) -> list[list[Any]]:
    """Where the pictures of the sheet come from, in rows."""
    (inputs,) = inputs_of(nodes, "IPA_GridSheet")
    links = [inputs[f"cell{number}"] for number in range(sum(name.startswith("cell") for name in inputs))]
    return [links[first : first + columns] for first in range(0, len(links), columns)]


def test_pictures_are_encoded_with_the_instruction_that_is_connected() -> None:
    told = inputs_of(expanded(REFERENCES, instruction=["told", 0]), "IPA_Encode")
    assert [inputs["instruction"] for inputs in told] == [["told", 0]] * 2
    (untold,) = inputs_of(expanded(WEIGHTS), "IPA_Encode")
    assert "instruction" not in untold


def test_faces_are_encoded_once_in_place_of_the_references() -> None:
    nodes = expanded(WEIGHTS, faces=["faces", 0])
    (encoded,) = inputs_of(nodes, "IPA_EncodeFace")
    assert (encoded["faces"], encoded["clip_vision"]) == (["faces", 0], ["clip_vision", 0])
    assert not inputs_of(nodes, "IPA_Encode")


def test_every_cell_is_applied_with_the_method() -> None:
    assert [one["method"] for one in inputs_of(expanded(WEIGHTS, "style"), "IPA_GridModel")] == ["style"] * 2
    assert {one["method"] for one in inputs_of(expanded(WEIGHTS), "IPA_GridModel")} == {"auto"}


def test_what_no_image_prompt_acts_on_is_sampled_once() -> None:
    nodes = expanded(read_grid(("weight", "0, 0.5, 1"), ("reference", ""), 2))
    assert sorted(one["weight"] for one in inputs_of(nodes, "IPA_GridModel")) == [0, 0.5, 0.5, 1, 1]
    one, other = sheet_rows(nodes, 3)
    assert one[0] == other[0]
    assert len({str(link) for link in one + other}) == 5
    seeds = expanded(read_grid(("weight", "0, 1"), ("seed", "1, 2"), 2))
    assert len(inputs_of(seeds, "KSampler")) == 4


def test_links_are_those_that_the_graph_has() -> None:
    from comfyui_ip_adapter.nodes.host.grid import Links

    class Hidden:
        unique_id = "7"

        class dynprompt:  # noqa: N801  (as ComfyUI calls it)
            @staticmethod
            def get_node(node: str) -> dict[str, Any]:
                return {"inputs": given}

    given: dict[str, Any] = SOCKETS | {"latent": ["latent", 0], "vae": ["vae", 0], "weight": 1.0}
    assert (Links.of(Hidden).instruction, Links.of(Hidden).faces) == (None, None)
    given |= {"instruction": ["told", 0], "faces": None}
    assert (Links.of(Hidden).instruction, Links.of(Hidden).faces) == (["told", 0], None)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no instruction": ("Instruct", {}, r"^Connect Image Prompt Instruction to .* or Image Prompt Grid"),
    "no faces": ("PuLID v1", {}, r"^Connect Face Embedding to faces; a is a PuLID v1 adapter, which reads faces"),
    "faces for pictures": ("plus", {"faces": FACES}, r"^Disconnect faces; a is a plus adapter, which reads pictures"),
    "a reference of faces": (
        "PuLID v1",
        {"faces": FACES, "grid": REFERENCES},
        r"^Set across and down to something else than r",
    ),
    "a method of another kind": ("plus", {"method": "style"}, r'^Set method to "auto"; "style" is for adapters of PuL'),
}


def check(folder: Path, kind: str, grid: Any = WEIGHTS, **given: Any) -> None:
    from comfyui_ip_adapter.nodes.host.grid import check_prompting

    check_prompting(
        loaded(folder, kind), grid, given.get("faces"), given.get("instruction"), given.get("method", "auto")
    )


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_cell_could_be_sampled_with_is_refused(tmp_path: Path, case: str) -> None:
    kind, given, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        check(tmp_path, kind, **given)


def test_what_fits_is_taken(tmp_path: Path) -> None:
    check(tmp_path, "plus", REFERENCES)
    check(tmp_path, "plus", instruction=SAID)
    check(tmp_path, "Instruct", REFERENCES, instruction=SAID)
    for method in ("auto", "style", "neutral"):
        check(tmp_path, "PuLID v1.1", faces=FACES, method=method)
