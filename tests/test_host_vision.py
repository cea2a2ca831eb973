"""Encoders and adapters in ComfyUI's hands: its own encoders say what ours say, files live as long as needed."""

import gc
import json
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fabricate.adapters import tiny_adapter
from fabricate.towers import TINY, Size, openclip_weights, tiny_tower, truth
from published_shapes import CONFIGS

pytestmark = pytest.mark.usefixtures("comfy")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is mapped where")
KINDS: dict[str, dict[str, Any]] = {
    "base": {"kind": "base"},
    "plus": {"kind": "plus", "embed": TINY.width, "tokens": 16},
    "full face": {"kind": "full face", "embed": TINY.width},
}


@pytest.fixture(autouse=True)
def computing() -> Iterator[None]:
    """Nodes run in inference mode."""
    with torch.inference_mode():
        yield


@pytest.fixture
def models(comfy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which ComfyUI finds `ipadapter/` and `clip_vision/`: one adapter of every kind, and a tower."""
    import folder_paths

    for category in ("ipadapter", "clip_vision"):
        (tmp_path / category).mkdir()
        entry = ([str(tmp_path / category)], folder_paths.supported_pt_extensions)
        monkeypatch.setitem(folder_paths.folder_names_and_paths, category, entry)
    for name, options in KINDS.items():
        tiny_adapter(tmp_path / "ipadapter" / f"{name}.safetensors", **options)
    tiny_adapter(tmp_path / "ipadapter" / "base.bin")
    save_tower(tmp_path / "clip_vision" / "tower.safetensors")
    return tmp_path


def save_tower(path: Path) -> None:
    """A tower in OpenCLIP's layout whose weights fp16 holds exactly: core keeps its encoders in fp16."""
    tiny_tower(path, "openclip")
    save_file(openclip_weights(exact()), path)


def exact() -> dict[str, Tensor]:
    """The weights of the tower in transformers' naming."""
    return {name: weight.half().float() for name, weight in truth().items()}


def ours() -> Any:
    from comfyui_ip_adapter.nodes.host import vision

    return vision.load("tower.safetensors")


def loaded(kind: str) -> Any:
    from comfyui_ip_adapter.nodes.host import adapters

    return adapters.load(f"{kind}.safetensors")


def cores(folder: Path) -> Any:
    """ComfyUI's own encoder with the weights of the fabricated tower."""
    from comfy.clip_vision import ClipVisionModel

    config = folder / "config.json"
    config.write_text(json.dumps(core_config(TINY)))
    encoder = ClipVisionModel(str(config))
    missing, unexpected = encoder.load_sd(exact())
    assert not missing
    assert not unexpected
    return encoder


def core_config(size: Size) -> dict[str, Any]:
    return {
        "model_type": "clip_vision_model",
        "hidden_act": "gelu",
        "hidden_size": size.width,
        "intermediate_size": size.inner,
        "image_size": size.image,
        "num_attention_heads": size.width // size.head_width,
        "num_channels": 3,
        "num_hidden_layers": size.layers,
        "patch_size": size.patch,
        "projection_dim": size.embed_dim,
    }


def pictures(seed: int = 0, height: int = 70, width: int = 90, images: int = 2) -> Tensor:
    return torch.rand(images, height, width, 3, generator=torch.Generator().manual_seed(seed))


def prompt(adapter: Any, encoder: Any, negative: Tensor | None = None) -> Any:
    from comfyui_ip_adapter.nodes.host import encoding

    (part,) = encoding.image_prompt(adapter, encoder, pictures(), negative=negative)[0].parts
    return part


def far(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, as a share of the largest value."""
    assert found.shape == wanted.shape
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_cores_encoder_gives_the_prompt_that_ours_gives(models: Path, kind: str) -> None:
    adapter = loaded(kind)
    one, other = prompt(adapter, cores(models)), prompt(adapter, ours())
    assert one.tokens.shape[0] == 2  # the second side is the blank input
    assert far(one.tokens, other.tokens) < 1e-4
    for mine, theirs in zip(one.keys_values, other.keys_values, strict=True):
        assert far(mine.keys, theirs.keys) < 1e-4
        assert far(mine.values, theirs.values) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_cores_encoder_gives_the_negative_side_that_ours_gives(models: Path, kind: str) -> None:
    adapter, negative = loaded(kind), pictures(seed=1, images=1)
    one, other = (prompt(adapter, encoder, negative) for encoder in (cores(models), ours()))
    assert far(one.tokens, other.tokens) < 1e-4
    assert far(one.tokens[1], prompt(adapter, ours()).tokens[1]) > 0.1


def test_an_encoded_picture_has_the_fields_that_cores_has(models: Path) -> None:
    square = pictures(height=TINY.image, width=TINY.image)
    wanted, found = (vars(encoder.encode_image(square)) for encoder in (cores(models), ours()))
    assert found.keys() == wanted.keys()
    for field in ("image_embeds", "penultimate_hidden_states", "last_hidden_state"):
        assert far(found[field], wanted[field]) < 1e-4
    assert [tuple(size) for size in found["image_sizes"]] == [tuple(size) for size in wanted["image_sizes"]]
    assert found["mm_projected"] is wanted["mm_projected"] is None


def test_an_encoded_picture_is_cropped_or_squashed_as_asked(models: Path) -> None:
    wide = pictures(height=56, width=112)
    encoder = ours()
    cropped, squashed = (encoder.encode_image(wide, crop=crop).image_embeds for crop in (True, False))
    assert far(cropped, encoder.encode_image(wide[:, :, 28:84]).image_embeds) < 1e-6
    assert far(squashed, cropped) > 0.01


def test_long_batches_are_encoded_in_parts_that_change_nothing(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes.host import vision

    adapter = loaded("plus")
    whole, encoder = prompt(adapter, ours()), ours()
    encoded, parts = encoder.encode_image, []

    def counting(images: Tensor) -> Any:
        parts.append(len(images))
        return encoded(images)

    monkeypatch.setattr(encoder, "encode_image", counting)
    monkeypatch.setattr(vision, "_ON_PROCESSOR", 1)
    assert far(prompt(adapter, encoder).tokens, whole.tokens) < 1e-5
    assert set(parts) == {1}
    assert len(parts) > 1


def test_an_encoder_that_does_not_fit_is_refused_by_name(models: Path) -> None:
    for encoder, name in ((cores(models), "CLIP vision encoder"), (ours(), "tower")):
        tiny_adapter(models / "ipadapter" / "h.safetensors", kind="plus", embed=1280)
        with pytest.raises(
            ValueError, match=rf"width 1280 \(CLIP-ViT-H-14\); the connected {name} gives 64\. Load CLIP"
        ):
            prompt(loaded("h"), encoder)


@pytest.mark.parametrize("kind", KINDS)
def test_unloading_all_models_changes_nothing(models: Path, kind: str) -> None:
    import comfy.model_management as memory

    adapter, encoder = loaded(kind), ours()
    first = prompt(adapter, encoder)
    memory.unload_all_models()
    again = prompt(adapter, encoder)
    assert torch.equal(again.tokens, first.tokens)
    assert all(torch.equal(a.values, b.values) for a, b in zip(again.keys_values, first.keys_values, strict=True))


def test_comfyui_sees_what_adapters_and_encoders_weigh(models: Path) -> None:
    import comfy.model_management as memory

    adapter, encoder = loaded("plus"), ours()
    prompt(adapter, encoder)
    seen = [entry.model for entry in memory.current_loaded_models]
    for value, file in ((adapter, "ipadapter/plus"), (encoder, "clip_vision/tower")):
        assert any(model is value.patcher for model in seen)
        weights = sum(tensor.nbytes for tensor in value.patcher.model.parameters())
        assert value.patcher.model_size() == weights
        assert weights == pytest.approx((models / f"{file}.safetensors").stat().st_size, rel=0.05)


def test_a_prompt_keeps_no_adapter_alive(models: Path) -> None:
    adapter = loaded("plus")
    network, made = weakref.ref(adapter.patcher.model), prompt(adapter, ours())
    release()
    assert network() is not None
    del adapter
    release()
    assert network() is None
    assert made.tokens.isfinite().all()


def release() -> None:
    import comfy.model_management as memory

    memory.unload_all_models()
    gc.collect()


def test_a_file_is_one_adapter_while_anyone_holds_it(models: Path) -> None:
    adapter = loaded("base")
    assert loaded("base") is adapter
    assert loaded("plus") is not adapter
    gone = weakref.ref(adapter)
    del adapter
    release()
    assert gone() is None


def test_a_file_is_one_encoder_while_anyone_holds_it(models: Path) -> None:
    from comfyui_ip_adapter.nodes.host import vision

    encoder = ours()
    assert ours() is encoder
    assert vision.load("tower.safetensors", "quick_gelu") is not encoder
    gone = weakref.ref(encoder)
    del encoder
    release()
    assert gone() is None


def test_a_file_that_was_replaced_is_read_again(models: Path) -> None:
    adapter = loaded("base")
    first = prompt(adapter, ours())
    replacement = tiny_adapter(models / "new.safetensors", seed=5)
    replacement.rename(models / "ipadapter" / "base.safetensors")
    assert loaded("base") is not adapter
    assert far(prompt(loaded("base"), ours()).tokens, first.tokens) > 0.1
    assert torch.equal(prompt(adapter, ours()).tokens, first.tokens)  # what was mapped stays whole


@only_linux
@pytest.mark.parametrize("file", ["base.safetensors", "base.bin"])
def test_the_weights_of_an_adapter_stay_mapped_from_its_file(models: Path, file: str) -> None:
    from comfyui_ip_adapter.nodes.host import adapters

    adapter = adapters.load(file)
    assert_mapped(adapter.patcher.model, models / "ipadapter" / file)
    prompt(adapter, ours())
    assert_mapped(adapter.patcher.model, models / "ipadapter" / file)


@only_linux
def test_the_weights_of_an_encoder_stay_mapped_from_its_file(models: Path) -> None:
    encoder = ours()
    encoder.encode_image(pictures())
    assert_mapped(encoder.model, models / "clip_vision" / "tower.safetensors")


def assert_mapped(network: nn.Module, file: Path) -> None:
    """Every parameter lies in the memory that the file is mapped to, as Linux tells it."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith(str(file))]
    ranges = [range(int(start, 16), int(end, 16)) for start, end in spans]
    for name, parameter in network.named_parameters():
        assert any(parameter.data_ptr() in span for span in ranges), name


@pytest.mark.parametrize(
    ("kind", "file"),
    [("any", "ip-adapter-plus_sd15.safetensors"), ("full face", "ip-adapter-full-face_sd15.safetensors")],
)
def test_auto_says_what_it_looked_for_and_what_to_download(models: Path, kind: str, file: str) -> None:
    from comfyui_ip_adapter.nodes.host import auto

    (models / "ipadapter" / "note.bin").write_text("no weights")
    config = SimpleNamespace(unet_config=CONFIGS["SD1.5"])
    model: Any = SimpleNamespace(model=SimpleNamespace(model_config=config, diffusion_model=None))
    with pytest.raises(
        ValueError, match=r"^No IP-Adapter .*for SD1\.5 \(16 layers, context 768\) was found"
    ) as refused:
        auto.find(model, kind)
    message = str(refused.value)
    assert f"Looked in {models / 'ipadapter'} and saw " in message
    assert "plus.safetensors: plus, a model of its own kind (16 layers, context 64)" in message
    assert "note.bin is " in message
    assert message.endswith(f"/{file} to models/ipadapter/{file}.")


def test_the_loader_shows_the_activation_that_was_chosen(models: Path) -> None:
    from comfyui_ip_adapter.nodes.load import LoadVision

    for activation in ("gelu", "quick_gelu"):
        shown = LoadVision.execute("tower.safetensors", activation).ui.as_dict()["text"][0]
        assert f", {activation}, " in shown
        assert shown.endswith(" parameters in F32")
