"""Encoders at another resolution in ComfyUI's hands: adapters read them, files are told apart, errors come early."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND
from fabricate.adapters import tiny_adapter
from fabricate.towers import TINY, tiny_tower

pytestmark = pytest.mark.usefixtures("comfy", "inference_mode")
KINDS: dict[str, dict[str, Any]] = {
    "base": {"kind": "base"},
    "plus": {"kind": "plus", "embed": TINY.width, "tokens": 16},
    "full face": {"kind": "full face", "embed": TINY.width},
}
FILE = "tower.safetensors"


@pytest.fixture(autouse=True)
def models(model_folders: Path) -> Path:
    """The folder in which ComfyUI finds `ipadapter/` and `clip_vision/`: one adapter of every kind, and a tower."""
    for name, options in KINDS.items():
        tiny_adapter(model_folders / "ipadapter" / f"{name}.safetensors", **options)
    tiny_tower(model_folders / "clip_vision" / FILE)
    return model_folders


def pictures() -> Tensor:
    return torch.rand(2, 150, 190, 3, generator=torch.Generator().manual_seed(0))


def prompt(kind: str, resolution: str) -> tuple[Any, Tensor]:
    from comfyui_ip_adapter.nodes.host import adapters, encoding, vision

    encoder = vision.load(FILE, resolution=resolution)
    made, seen = encoding.encode_prompt(adapters.load(f"{kind}.safetensors"), encoder, pictures())
    (part,) = made.parts
    return part, seen


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_an_adapter_reads_an_encoder_at_double_resolution(kind: str) -> None:
    plain, seen = prompt(kind, "as trained")
    double, seen_double = prompt(kind, "double")
    assert (seen.shape[1:], seen_double.shape[1:]) == ((56, 56, 3), (112, 112, 3))
    assert double.tokens.shape == plain.tokens.shape
    assert double.tokens.isfinite().all()
    assert not torch.allclose(double.tokens, plain.tokens, atol=1e-2)
    assert not torch.allclose(double.side(COND), double.side(UNCOND), atol=1e-2)  # the blank image is encoded as large


def test_an_adapter_of_a_token_per_hidden_state_gives_more_of_them() -> None:
    plain, double = (prompt("full face", resolution)[0] for resolution in ("as trained", "double"))
    assert plain.side(COND).shape[1] == 2 * TINY.tokens
    assert double.side(COND).shape[1] == 2 * TINY._replace(image=112).tokens


def test_the_same_file_is_another_encoder_at_another_resolution() -> None:
    from comfyui_ip_adapter.nodes.host import vision

    plain, double = vision.load(FILE), vision.load(FILE, resolution="double")
    assert vision.load(FILE, "auto", "as trained") is plain
    assert vision.load(FILE, "auto", "double") is double
    assert (plain.image_size, double.image_size) == (56, 112)
    output = double.encode_image(pictures())
    assert output.penultimate_hidden_states.shape == (2, 65, TINY.width)
    assert output["image_sizes"] == [(3, 112, 112)] * 2


def test_the_loader_shows_the_resolution_that_was_chosen() -> None:
    from comfyui_ip_adapter.nodes.load import LoadVision

    shown = {
        resolution: LoadVision.execute(FILE, "auto", *resolution).ui.as_dict()["text"][0]
        for resolution in ((), ("as trained",), ("double",))
    }
    assert shown[()] == shown["as trained",]
    assert "tower: 56 px, embeddings of 32, 17 tokens of 64, gelu, " in shown[()]
    assert "tower: 112 px, embeddings of 32, 65 tokens of 64, gelu, " in shown["double",]


def test_a_resolution_the_encoder_cannot_have_is_told_by_the_loader() -> None:
    from comfyui_ip_adapter.nodes.load import LoadVision

    assert LoadVision.validate_inputs(FILE) is True
    assert LoadVision.validate_inputs(None) is True  # wired in: known later
    assert "put none.bin into models/clip_vision; it is not there" in str(LoadVision.validate_inputs("none.bin"))
    with pytest.raises(ValueError, match="patches of 14 px, and 100 px"):
        LoadVision.execute(FILE, "auto", "100")
    with pytest.raises(ValueError, match=r"Set resolution to one of as trained, .*; found 'huge'"):
        LoadVision.execute(FILE, "auto", "huge")


def test_a_resolution_may_be_a_number_that_no_menu_has() -> None:
    from comfyui_ip_adapter.nodes.load import LoadVision

    (menu,) = (given.options for given in LoadVision.define_schema().inputs if given.id == "resolution")
    for number in (336, "336", 504, "504"):
        assert number in menu
        assert LoadVision.execute(FILE, "auto", number).args[0].image_size == int(number)
    assert 1.5 not in menu


def test_resolution_is_the_last_input_and_graphs_saved_without_it_stay_valid() -> None:
    from comfyui_ip_adapter.nodes.load import LoadVision

    *others, last = LoadVision.define_schema().inputs
    assert [given.id for given in others] == ["file", "activation"]
    assert (last.id, last.optional, last.default) == ("resolution", True, "as trained")
