import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from comfyui_ip_adapter.ip_adapter_core.preprocess import fit
from comfyui_ip_adapter.ip_adapter_core.towers import Tower, build, identify
from comfyui_ip_adapter.ip_adapter_core.vision import VisionOutput, blank, encode, find_config, load
from comfyui_ip_adapter.ip_adapter_core.weightfile import Entry, UnsupportedCheckpoint
from fabricate.towers import (
    LAYOUTS, TINY, VIT_BIGG_14, VIT_H_14, VIT_L_14, VIT_L_14_336, Size, hf_shapes, model_config, openclip_shapes,
    tiny_tower, truth,
)  # fmt: skip
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

Shapes = dict[str, tuple[int, ...]]

PUBLISHED = [
    ("ViT-H-14", VIT_H_14, 632_076_800, False),
    ("ViT-bigG-14", VIT_BIGG_14, 1_844_907_264, False),
    ("ViT-L-14", VIT_L_14, 303_966_208, True),
    ("ViT-L-14-336", VIT_L_14_336, 304_293_888, True),
]
NAMINGS: list[Callable[[Size], Shapes]] = [hf_shapes, openclip_shapes, lambda size: openclip_shapes(size, "")]


def entries_of(shapes: Shapes, prefix: str = "") -> dict[str, Entry]:
    return {prefix + key: Entry(shape, "F16") for key, shape in shapes.items()}


def transformers_says(pixels: torch.Tensor, size: Size = TINY, activation: str = "gelu") -> VisionOutput:
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
        found = model(pixels, output_hidden_states=True)
    return VisionOutput(found.image_embeds, found.hidden_states[-2], found.hidden_states[-1])


def pixels_for(size: Size = TINY, images: int = 2) -> torch.Tensor:
    return torch.randn(images, 3, size.image, size.image, generator=torch.Generator().manual_seed(1))


def worst(found: VisionOutput, wanted: VisionOutput) -> float:
    assert [part.shape for part in found if part is not None] == [part.shape for part in wanted if part is not None]
    return max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True) if a is not None and b is not None)


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


@pytest.mark.parametrize("naming", NAMINGS, ids=["hf", "openclip", "bare"])
@pytest.mark.parametrize(("name", "size", "parameters", "quick_gelu"), PUBLISHED)
def test_published_towers_are_told_from_names_and_shapes(
    name: str, size: Size, parameters: int, quick_gelu: bool, naming: Callable[[Size], Shapes]
) -> None:
    tower = identify(entries_of(naming(size)))
    sizes = (tower.embed_dim, tower.width, tower.layers, tower.patch, tower.image_size, tower.tokens)
    assert (tower.name, tower.quick_gelu) == (name, quick_gelu)
    assert sizes == (size.embed_dim, size.width, size.layers, size.patch, size.image, size.tokens)
    assert sum(parameter.numel() for parameter in build(tower).parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "tokens", "width", "mean"),
    [("ViT-SO400M-14-SigLIP-384", 729, 1152, 0.5), ("EVA02-L-14", 257, 1024, 0.48145466), ("RN50", 0, 0, 0.48145466)],
)
def test_other_towers_openclip_knows_are_told_too(name: str, tokens: int, width: int, mean: float) -> None:
    tower = identify(registered_entries(name))
    assert (tower.name, tower.tokens, tower.width, tower.mean[0]) == (name, tokens, width, mean)


def registered_entries(name: str) -> dict[str, Entry]:
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        clip = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], model_config(TINY)["text_cfg"])
    return {key: Entry(tuple(tensor.shape), "F32") for key, tensor in clip.state_dict().items()}


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
    with pytest.raises(ValueError, match="tower needs pictures of 56x56x3, these are 64x64x3; fit them first"):
        encode(load(tmp_path / "tower.safetensors"), torch.rand(1, 64, 64, 3))


def test_the_config_decides_the_activation_unless_the_caller_does(tmp_path: Path) -> None:
    path = tmp_path / "tower.safetensors"
    tiny_tower(path, quick_gelu=True)
    assert [load(path, activation).tower.quick_gelu for activation in ("auto", "gelu", "quick_gelu")] == [1, 0, 1]
    assert [identify(entries_of(hf_shapes(VIT_L_14)), None, a).quick_gelu for a in ("auto", "gelu")] == [1, 0]
    # A config that says nothing of it means gelu, whatever the size.
    assert not identify(entries_of(hf_shapes(VIT_L_14)), model_config(VIT_L_14)).quick_gelu


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
    with pytest.raises(UnsupportedCheckpoint, match=r"tower\.json cannot be read as JSON"):
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
    with pytest.raises(UnsupportedCheckpoint, match=rf"^tower\.safetensors lacks {KEYS[layout][0]}"):
        load(path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_foreign_tensor_is_named(tmp_path: Path, layout: str) -> None:
    change = lambda weights: weights.update({KEYS[layout][1]: torch.zeros(1)})  # noqa: E731
    with pytest.raises(UnsupportedCheckpoint, match=rf"holds {KEYS[layout][1]}, which"):
        load(damaged(tmp_path / "tower.safetensors", layout, change))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tensor_of_another_shape_is_named(tmp_path: Path, layout: str) -> None:
    change = lambda weights: weights.update({KEYS[layout][0]: torch.zeros(7)})  # noqa: E731
    with pytest.raises(UnsupportedCheckpoint, match=rf"has {KEYS[layout][0]} of another shape than tower needs"):
        load(damaged(tmp_path / "tower.safetensors", layout, change))


@pytest.mark.parametrize("key", ["conv1.weight", "positional_embedding", "proj", "class_embedding"])
def test_a_published_tower_without_a_tensor_that_tells_its_size_is_refused(key: str) -> None:
    shapes = openclip_shapes(VIT_H_14)
    del shapes[f"visual.{key}"]
    with pytest.raises(UnsupportedCheckpoint, match=rf"visual\.{key}"):
        identify(entries_of(shapes))


def test_a_key_or_value_of_another_shape_is_refused_though_the_sum_may_fit() -> None:
    shapes = hf_shapes(TINY)
    attention = "vision_model.encoder.layers.0.self_attn"
    shapes[f"{attention}.q_proj.bias"], shapes[f"{attention}.k_proj.bias"] = (32,), (96,)
    with pytest.raises(UnsupportedCheckpoint, match=r"self_attn\.q_proj\.bias of another shape"):
        identify(entries_of(shapes), model_config(TINY))


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"], "an IP-Adapter"),
        (["model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.bias"], "a diffusion model"),
        (["text_model.embeddings.token_embedding.weight"], "only the text half of a CLIP"),
        (["token_embedding.weight", "transformer.resblocks.0.ln_1.weight"], "only the text half of a CLIP"),
        (["lora_unet_down_blocks.lora_up.weight"], "a LoRA"),
        (["embeddings.cls_token", "encoder.layer.0.norm1.weight"], "other than CLIP"),
        (["embeddings.class_embedding"], r"without its projection, visual_projection\.weight"),
        (["b", "a"], r"2 tensors of another kind \(a, …\)"),
        ([], "no tensors"),
    ],
)
def test_files_that_hold_something_else_are_named(keys: list[str], what: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=rf"^x\.bin holds .*{what}.*, not a CLIP vision encoder"):
        identify({key: Entry((1,), "F32") for key in keys}, file="x.bin")


def test_siglip_in_the_naming_of_transformers_is_named() -> None:
    keys = ["vision_model.head.probe", "vision_model.embeddings.patch_embedding.bias"]
    with pytest.raises(UnsupportedCheckpoint, match="SigLIP vision encoder in transformers' naming"):
        identify({key: Entry((1,), "F32") for key in keys})


def test_a_tower_openclip_does_not_know_asks_for_its_config() -> None:
    with pytest.raises(UnsupportedCheckpoint, match="OpenCLIP does not know"):
        identify(entries_of(hf_shapes(TINY)))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"model_cfg": {"embed_dim": 32}}, "needs embed_dim and vision_cfg"),
        ({"embed_dim": 32, "vision_cfg": {"depth": 3}}, "describes no tower OpenCLIP can build"),
        ({"embed_dim": 32, "vision_cfg": {"timm_model_name": "hf-hub:someone/model"}}, "names a model to download"),
        (model_config(TINY._replace(layers=4)), r"lacks transformer\.resblocks\.3"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=sentence):
        identify(entries_of(hf_shapes(TINY)), config)


def test_an_unknown_activation_is_named() -> None:
    with pytest.raises(ValueError, match="no activation called 'relu'; use one of auto, gelu, quick_gelu"):
        identify({}, activation="relu")


def test_a_tower_is_a_value() -> None:
    first, second = (identify(entries_of(naming(VIT_L_14))) for naming in NAMINGS[:2])
    assert isinstance(first, Tower)
    assert first == second
    assert hash(first) == hash(second)
