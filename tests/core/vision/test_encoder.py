import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.vision import encoder as vision
from comfyui_ip_adapter.ip_adapter_core.vision.encoder import VisionOutput, blank, encode, find_config, load
from comfyui_ip_adapter.ip_adapter_core.vision.preprocess import fit
from fabricate.towers import LAYOUTS, TINY, Size, model_config, tiny_tower, truth


def transformers_says(
    pixels: torch.Tensor, size: Size = TINY, activation: str = "gelu", interpolate: bool = False
) -> VisionOutput:
    config = CLIPVisionConfig(
        hidden_size=size.width,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.width // size.head_width,
        image_size=size.image,
        patch_size=size.patch,
        projection_dim=size.embed_dim,
        hidden_act=activation,
    )
    model = CLIPVisionModelWithProjection(config).eval()
    model.load_state_dict(truth(size))
    with torch.no_grad():
        found = model(pixels, output_hidden_states=True, interpolate_pos_encoding=interpolate)
    return VisionOutput(found.image_embeds, found.hidden_states[-2], found.hidden_states[-1])


def pixels_for(size: Size = TINY, images: int = 2) -> torch.Tensor:
    return torch.randn(images, 3, size.image, size.image, generator=torch.Generator().manual_seed(1))


def worst(found: VisionOutput, wanted: VisionOutput) -> float:
    assert [part.shape for part in found if part is not None] == [part.shape for part in wanted if part is not None]
    pairs = zip(found, wanted, strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs if a is not None and b is not None)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_a_tower_says_what_transformers_says(tmp_path: Path, layout: str, activation: str) -> None:
    tiny_tower(tmp_path / "tower.safetensors", layout)
    found = load(tmp_path / "tower.safetensors", activation)(pixels_for())
    assert worst(found, transformers_says(pixels_for(), activation=activation)) < 1e-5


@pytest.mark.parametrize("prefix", ["image_encoder.", "conditioner.embedders.0.open_clip.model.", "module."])
@pytest.mark.parametrize("layout", ["hf", "openclip"])
def test_a_tower_is_found_at_any_prefix(tmp_path: Path, layout: str, prefix: str) -> None:
    tiny_tower(tmp_path / "tower.safetensors", layout, prefix=prefix)
    assert worst(load(tmp_path / "tower.safetensors")(pixels_for()), transformers_says(pixels_for())) < 1e-5


def test_a_whole_openclip_model_gives_its_image_features_and_its_text_half_is_ignored(tmp_path: Path) -> None:
    config = model_config(TINY)
    torch.manual_seed(0)
    clip = open_clip.CLIP(**config).eval()
    save_file(clip.state_dict(), tmp_path / "clip.safetensors")
    (tmp_path / "clip.json").write_text(json.dumps(config))
    with torch.no_grad():
        wanted = clip.encode_image(pixels_for())
    assert torch.allclose(load(tmp_path / "clip.safetensors")(pixels_for()).embeds, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "sequence", "dtype"),
    [
        ("vit_pe_core_tiny_patch16_384", (577, 192), torch.float32),  # rotary angles are in no file
        ("vit_pe_core_tiny_patch16_384", (577, 192), torch.bfloat16),
        ("test_vit", (101, 64), torch.float32),
        ("test_convnext", None, torch.float32),
    ],
)
def test_timm_towers_say_what_openclip_says(
    tmp_path: Path, model: str, sequence: tuple[int, int] | None, dtype: torch.dtype
) -> None:
    config = timm_config(model)
    torch.manual_seed(0)
    clip = open_clip.CLIP(**config).eval().to(dtype)
    save_file(clip.state_dict(), tmp_path / "clip.safetensors")
    (tmp_path / "clip.json").write_text(json.dumps(config))
    encoder = load(tmp_path / "clip.safetensors")
    size = encoder.tower.image_size
    pixels = torch.randn(1, 3, size, size).to(dtype)
    with torch.no_grad():
        wanted, found = clip.encode_image(pixels), encoder(pixels)
    assert torch.allclose(found.embeds, wanted, atol=1e-5)
    for state in found[1:]:
        assert (None if state is None else state.shape[1:]) == sequence


def timm_config(model: str) -> dict[str, Any]:
    size = {"vit_pe_core_tiny_patch16_384": 384}.get(model, 160)
    pool = {"test_convnext": "avg"}.get(model, "token" if model == "test_vit" else "map")
    vision = {"timm_model_name": model, "timm_pool": pool, "timm_proj": "linear", "image_size": size}
    return model_config(TINY) | {"vision_cfg": vision}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_weights_keep_the_dtype_of_the_file_and_compute_in_it(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "tower.safetensors"
    weights = tiny_tower(path)
    save_file({key: value.to(dtype) for key, value in weights.items()}, path)
    encoder = load(path)
    found = encoder(pixels_for())
    assert {parameter.dtype for parameter in encoder.parameters()} == {dtype}
    assert found.embeds.dtype == dtype
    assert worst(VisionOutput(*(part.float() for part in found)), transformers_says(pixels_for())) < 0.2


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("resolution", "image"), [("double", 112), ("98", 98), ("336", 336)])
def test_a_tower_at_a_higher_resolution_says_what_transformers_says(
    tmp_path: Path, layout: str, resolution: str, image: int
) -> None:
    tiny_tower(tmp_path / "tower.safetensors", layout)
    encoder = load(tmp_path / "tower.safetensors", resolution=resolution)
    pixels = pixels_for(TINY._replace(image=image))
    found = encoder(pixels)
    assert (encoder.tower.image_size, encoder.tower.tokens) == (image, (image // TINY.patch) ** 2 + 1)
    assert worst(found, transformers_says(pixels, interpolate=True)) < 1e-5


def test_the_trained_resolution_in_numbers_changes_nothing(tmp_path: Path) -> None:
    tiny_tower(tmp_path / "tower.safetensors")
    plain, named = (load(tmp_path / "tower.safetensors", resolution=choice) for choice in ("as trained", "56"))
    assert named.tower == plain.tower
    for mine, other in zip(named.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(mine, other)
    assert worst(named(pixels_for()), plain(pixels_for())) == 0


def test_a_lower_resolution_averages_the_trained_positions(tmp_path: Path) -> None:
    size = TINY._replace(patch=7)
    weights = tiny_tower(tmp_path / "tower.safetensors", "bare", size)
    trained = weights["positional_embedding"]
    found = load(tmp_path / "tower.safetensors", resolution="28").visual.positional_embedding
    grid = trained[1:].T.reshape(1, size.width, 8, 8)
    wanted = torch.nn.functional.interpolate(grid, (4, 4), mode="bicubic", antialias=True)
    assert torch.allclose(found[1:], wanted.flatten(2)[0].T, atol=1e-6)
    assert torch.equal(found[0], trained[0])


@pytest.mark.parametrize("model", ["test_vit", "test_vit3"])  # the second reads fixed sizes only, until it is told
def test_a_timm_tower_at_double_resolution_is_timms_own_with_positions_between_the_trained(
    tmp_path: Path, model: str
) -> None:
    config = timm_config(model)
    torch.manual_seed(0)
    clip = open_clip.CLIP(**config).eval()
    save_file(clip.state_dict(), tmp_path / "clip.safetensors")
    (tmp_path / "clip.json").write_text(json.dumps(config))
    encoder = load(tmp_path / "clip.safetensors", resolution="double")
    size = encoder.tower.image_size
    trunk = clip.visual.trunk
    grid = trunk.pos_embed.detach()[:, 1:].mT.unflatten(2, (10, 10))
    trunk.set_input_size(img_size=size)
    trunk.pos_embed.data[:, 1:] = torch.nn.functional.interpolate(grid, (20, 20), mode="bicubic").flatten(2).mT
    pixels = torch.randn(1, 3, size, size)
    with torch.no_grad():
        wanted, found = clip.encode_image(pixels), encoder(pixels)
    assert size == 2 * config["vision_cfg"]["image_size"]
    assert torch.allclose(found.embeds, wanted, atol=1e-5)
    assert all(state is not None and state.shape[1] == encoder.tower.tokens for state in found[1:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_tower_at_another_resolution_keeps_the_dtype_and_is_complete(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "tower.safetensors"
    save_file({key: value.to(dtype) for key, value in tiny_tower(path).items()}, path)
    encoder = load(path, resolution="double")
    assert {parameter.dtype for parameter in encoder.parameters()} == {dtype}
    assert not any(tensor.is_meta or tensor.requires_grad for tensor in (*encoder.parameters(), *encoder.buffers()))
    pixels = pixels_for(TINY._replace(image=112))
    found = VisionOutput(*(part.float() for part in encoder(pixels)))
    assert worst(found, transformers_says(pixels, interpolate=True)) < 0.2


def test_pictures_and_the_blank_image_have_the_resolution_of_the_tower(tmp_path: Path) -> None:
    tiny_tower(tmp_path / "tower.safetensors")
    encoder = load(tmp_path / "tower.safetensors", resolution="double")
    zeros = transformers_says(torch.zeros(1, 3, 112, 112), interpolate=True)
    assert worst(blank(encoder), zeros) < 1e-5
    assert encode(encoder, torch.rand(1, 112, 112, 3)).penultimate is not None
    with pytest.raises(ValueError, match="Fit pictures to 112x112x3 for tower; these are 56x56x3"):
        encode(encoder, torch.rand(1, 56, 56, 3))


def test_a_resolution_that_cannot_be_is_refused_before_any_weight_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_tower(tmp_path / "tower.safetensors")
    monkeypatch.setattr(vision, "tensors", None)
    with pytest.raises(ValueError, match="patches of 14 px, and 100 px"):
        load(tmp_path / "tower.safetensors", resolution="100")


def test_weights_of_mixed_or_uncomputable_dtype_become_one(tmp_path: Path) -> None:
    path = tmp_path / "tower.safetensors"
    weights = tiny_tower(path)
    save_file({key: value if "norm" in key else value.half() for key, value in weights.items()}, path)
    assert load(path).weight.dtype == torch.float16
    save_file({key: value.double() for key, value in weights.items()}, path)
    assert load(path).weight.dtype == torch.float32
    assert load(path, dtype=torch.bfloat16).weight.dtype == torch.bfloat16


def test_a_loaded_tower_is_complete_frozen_and_ready(tmp_path: Path) -> None:
    tiny_tower(tmp_path / "tower.safetensors")
    encoder = load(tmp_path / "tower.safetensors")
    tensors = [*encoder.parameters(), *encoder.buffers()]
    assert not any(tensor.is_meta or tensor.requires_grad for tensor in tensors)
    assert not any(module.training for module in encoder.modules())


def test_loading_under_inference_mode_gives_the_same(tmp_path: Path) -> None:
    tiny_tower(tmp_path / "tower.safetensors")
    with torch.inference_mode():
        found = load(tmp_path / "tower.safetensors")(pixels_for())
        assert worst(found, load(tmp_path / "tower.safetensors")(pixels_for())) == 0
    assert worst(found, load(tmp_path / "tower.safetensors")(pixels_for())) < 1e-5


def test_loading_at_another_resolution_under_inference_mode_gives_the_same(tmp_path: Path) -> None:
    tiny_tower(tmp_path / "tower.safetensors")
    pixels = pixels_for(TINY._replace(image=112))
    with torch.inference_mode():
        encoder = load(tmp_path / "tower.safetensors", resolution="double")
        found = encoder(pixels)
    with torch.no_grad():
        assert worst(encoder(pixels), found) == 0
    assert worst(found, transformers_says(pixels, interpolate=True)) < 1e-5


def test_encoding_normalises_with_the_mean_of_the_tower(tmp_path: Path) -> None:
    path = tmp_path / "tower.safetensors"
    tiny_tower(path)
    config = {"model_cfg": model_config(TINY), "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}
    path.with_suffix(".json").write_text(json.dumps(config))
    pictures = fit(torch.rand(2, 60, 80, 3), 56)
    wanted = transformers_says(((pictures - 0.5) / 0.25).permute(0, 3, 1, 2))
    assert worst(encode(load(path), pictures), wanted) < 1e-5


def test_the_blank_image_is_zeros_after_normalisation(tmp_path: Path) -> None:
    tiny_tower(tmp_path / "tower.safetensors")
    found = blank(load(tmp_path / "tower.safetensors"), images=2)
    assert worst(found, transformers_says(torch.zeros(2, 3, 56, 56))) < 1e-5


def test_features_can_be_used_for_training(tmp_path: Path) -> None:
    tiny_tower(tmp_path / "tower.safetensors")
    found = encode(load(tmp_path / "tower.safetensors"), torch.rand(1, 56, 56, 3))
    layer = torch.nn.Linear(TINY.embed_dim, 1)
    layer(found.embeds).sum().backward()
    assert layer.weight.grad is not None


def test_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    tiny_tower(tmp_path / "tower.safetensors")
    with pytest.raises(ValueError, match="Fit pictures to 56x56x3 for tower; these are 64x64x3"):
        encode(load(tmp_path / "tower.safetensors"), torch.rand(1, 64, 64, 3))


def test_the_config_decides_the_activation_unless_the_caller_does(tmp_path: Path) -> None:
    path = tmp_path / "tower.safetensors"
    tiny_tower(path, quick_gelu=True)
    assert [load(path, activation).tower.quick_gelu for activation in ("auto", "gelu", "quick_gelu")] == [1, 0, 1]


def test_the_config_of_the_folder_counts_only_for_a_single_model(tmp_path: Path) -> None:
    path, shared = tmp_path / "tower.safetensors", tmp_path / "open_clip_config.json"
    tiny_tower(path)
    path.with_suffix(".json").rename(shared)
    assert load(path).tower.name == "tower"
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    assert find_config(path) is not None
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert find_config(path) is None


def test_json_of_other_programs_beside_a_model_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "tower.safetensors"
    path.with_suffix(".json").write_text('{"rating": 5}')
    assert find_config(path) is None
    path.with_suffix(".json").write_text("{broken")
    with pytest.raises(UnsupportedCheckpoint, match=r"Correct or remove tower\.json; it cannot be read as JSON"):
        find_config(path)


KEYS = {
    "hf": ("vision_model.encoder.layers.1.mlp.fc1.bias", "vision_model.encoder.layers.1.mlp.fc3.bias"),
    "openclip": ("visual.transformer.resblocks.1.mlp.c_fc.bias", "visual.transformer.resblocks.1.mlp.c_fd.bias"),
    "bare": ("transformer.resblocks.1.mlp.c_fc.bias", "transformer.resblocks.1.mlp.c_fd.bias"),
}


def damaged(path: Path, layout: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    tiny_tower(path, layout)
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_missing_tensor_is_named(tmp_path: Path, layout: str) -> None:
    path = damaged(tmp_path / "tower.safetensors", layout, lambda weights: weights.pop(KEYS[layout][0]))
    with pytest.raises(UnsupportedCheckpoint, match=rf"^Download tower\.safetensors again; it lacks {KEYS[layout][0]}"):
        load(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_foreign_tensor_is_named(tmp_path: Path, layout: str) -> None:
    change = lambda weights: weights.update({KEYS[layout][1]: torch.zeros(1)})  # noqa: E731
    with pytest.raises(UnsupportedCheckpoint, match=rf"holds {KEYS[layout][1]}, which"):
        load(damaged(tmp_path / "tower.safetensors", layout, change))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tensor_of_another_shape_is_named(tmp_path: Path, layout: str) -> None:
    change = lambda weights: weights.update({KEYS[layout][0]: torch.zeros(7)})  # noqa: E731
    with pytest.raises(UnsupportedCheckpoint, match=rf"its {KEYS[layout][0]} has another shape than tower needs"):
        load(damaged(tmp_path / "tower.safetensors", layout, change))
