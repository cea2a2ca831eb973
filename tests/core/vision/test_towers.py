from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import Entry
from comfyui_ip_adapter.ip_adapter_core.vision.preprocess import fit, normalise
from comfyui_ip_adapter.ip_adapter_core.vision.towers import AS_TRAINED, DOUBLE, RESOLUTIONS, Tower, build, identify
from fabricate.towers import (
    TINY,
    VIT_BIGG_14,
    VIT_H_14,
    VIT_L_14,
    VIT_L_14_336,
    Size,
    hf_shapes,
    model_config,
    openclip_shapes,
)
from published_shapes import registered_entries

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


@pytest.mark.parametrize(
    ("name", "how", "interpolation"),
    [
        ("ViT-H-14", "center crop", "bicubic"),
        ("ViT-L-14-336", "center crop", "bicubic"),
        ("ViT-SO400M-14-SigLIP-384", "squash", "bicubic"),
        ("PE-Core-L-14-336", "squash", "bilinear"),
        ("EVA02-L-14-336", "center crop", "bicubic"),
    ],
)
@pytest.mark.parametrize(("height", "width"), [(500, 1000), (900, 600), (120, 150)])
def test_pictures_become_what_openclip_makes_of_them(
    name: str, how: str, interpolation: str, height: int, width: int
) -> None:
    """Crops that leave an odd number of pixels are transformers', a pixel beside those of torchvision."""
    tower = identify(registered_entries(name))
    assert tower.interpolation == interpolation
    published = open_clip.get_pretrained_cfg(name, open_clip.list_pretrained_tags_by_model(name)[0])
    assert (published["interpolation"], published["resize_mode"] == "squash") == (interpolation, how == "squash")
    pixels = {key: published[key] for key in ("mean", "std", "interpolation", "resize_mode")}
    transform = image_transform_v2(PreprocessCfg(size=tower.image_size, **pixels), is_train=False)
    levels = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(4)).to(torch.uint8)
    fitted = fit(levels[None] / 255, tower.image_size, how, tower.mean, tower.interpolation)
    wanted = transform(Image.fromarray(levels.numpy()))
    torch.testing.assert_close(normalise(fitted, tower.mean, tower.std)[0], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("said", "interpolation"),
    [("bilinear", "bilinear"), ("bicubic", "bicubic"), ("random", "bicubic"), (None, "bicubic")],
)
def test_a_config_says_how_pictures_are_resized(said: str | None, interpolation: str) -> None:
    config = {"model_cfg": model_config(VIT_L_14), "preprocess_cfg": {"interpolation": said} if said else {}}
    assert identify(entries_of(hf_shapes(VIT_L_14)), config).interpolation == interpolation


def test_the_activation_of_published_sizes_can_be_overridden() -> None:
    entries = entries_of(hf_shapes(VIT_L_14))
    assert [identify(entries, None, activation).quick_gelu for activation in ("auto", "gelu")] == [True, False]


def test_a_config_that_says_nothing_of_the_activation_means_gelu() -> None:
    assert not identify(entries_of(hf_shapes(VIT_L_14)), model_config(VIT_L_14)).quick_gelu


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
    with pytest.raises(UnsupportedCheckpoint, match=r"self_attn\.q_proj\.bias has another shape"):
        identify(entries_of(shapes), model_config(TINY))


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"], "an IP-Adapter"),
        (["model.diffusion_model.out.0.bias", "first_stage_model.decoder.conv_in.bias"], "a diffusion model"),
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
    with pytest.raises(
        UnsupportedCheckpoint, match=rf"^Choose a CLIP vision encoder such as .*; x\.bin holds .*{what}"
    ):
        identify({key: Entry((1,), "F32") for key in keys}, file="x.bin")


def test_a_tower_openclip_does_not_know_asks_for_its_config() -> None:
    with pytest.raises(UnsupportedCheckpoint, match="OpenCLIP does not know"):
        identify(entries_of(hf_shapes(TINY)))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"model_cfg": {"embed_dim": 32}}, "which has embed_dim and vision_cfg"),
        ({"embed_dim": 32, "vision_cfg": {"depth": 3}}, "describes no tower OpenCLIP can build"),
        ({"embed_dim": 32, "vision_cfg": {"timm_model_name": "hf-hub:someone/model"}}, "names no model to download"),
        (model_config(TINY._replace(layers=4)), r"lacks transformer\.resblocks\.3"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(config: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=sentence):
        identify(entries_of(hf_shapes(TINY)), config)


def test_an_unknown_activation_is_named() -> None:
    with pytest.raises(ValueError, match="Set activation to one of auto, gelu, quick_gelu; found 'relu'"):
        identify({}, activation="relu")


def test_a_tower_is_a_value() -> None:
    first, second = (identify(entries_of(naming(VIT_L_14))) for naming in NAMINGS[:2])
    assert isinstance(first, Tower)
    assert first == second
    assert hash(first) == hash(second)


def test_a_tower_says_in_one_line_what_it_gives() -> None:
    tower = identify(entries_of(hf_shapes(VIT_H_14)))
    assert tower.describe() == "ViT-H-14: 224 px, embeddings of 1024, 257 tokens of 1280, gelu"


@pytest.mark.parametrize("name", ["ViT-L-14-CLIPA", "coca_ViT-L-14", "EVA02-B-16"])
def test_only_plain_towers_of_openai_sizes_get_the_quick_activation(name: str) -> None:
    tower = identify(registered_entries(name))
    assert (tower.name, tower.quick_gelu) == (name, False)


@pytest.mark.parametrize(
    ("name", "resolution", "image_size", "tokens"),
    [
        ("ViT-H-14", "448", 448, 1025),
        ("ViT-H-14", DOUBLE, 448, 1025),
        ("ViT-H-14", "336", 336, 577),
        ("ViT-H-14", "112", 112, 65),
        ("ViT-L-14-336", DOUBLE, 672, 2305),
        ("ViT-B-32", "448", 448, 197),
        ("ViT-B-16-SigLIP", "448", 448, 784),  # without CLS
        ("ViT-SO400M-14-SigLIP-384", DOUBLE, 756, 2916),  # trained on 27 patches, 378 of its 384 px
        ("EVA01-g-14", "448", 448, 1025),
        ("coca_ViT-L-14", DOUBLE, 448, 1025),
        ("ViT-L-14-CLIPA", DOUBLE, 448, 1025),
    ],
)
def test_a_tower_at_another_resolution_tells_and_has_its_sizes(
    name: str, resolution: str, image_size: int, tokens: int
) -> None:
    trained = identify(registered_entries(name))
    tower = trained.at(resolution)
    assert (tower.image_size, tower.tokens) == (image_size, tokens)
    assert f": {image_size} px, " in tower.describe()
    assert f", {tokens} tokens of " in tower.describe()
    assert tower.positions is not None
    shapes = {key: tuple(value.shape) for key, value in build(tower).state_dict().items()}
    before = {key: tuple(value.shape) for key, value in build(trained).state_dict().items()}
    assert shapes.pop(tower.positions.key)[-2] == tokens
    assert before.pop(tower.positions.key)[-2] == trained.tokens
    assert shapes == before


def test_a_tower_at_another_resolution_is_else_the_same() -> None:
    trained = identify(entries_of(hf_shapes(VIT_H_14)))
    tower = trained.at("448")
    assert (tower.name, tower.embed_dim, tower.width, tower.layers) == ("ViT-H-14", 1024, 1280, 32)
    assert (tower.mean, tower.std, tower.quick_gelu) == (trained.mean, trained.std, trained.quick_gelu)
    assert tower != trained
    assert trained.image_size == 224
    assert tower.at("224") == trained


@pytest.mark.parametrize("name", ["ViT-H-14", "ViT-SO400M-14-SigLIP-384", "EVA02-L-14", "RN50"])
def test_the_trained_resolution_is_the_tower_itself(name: str) -> None:
    tower = identify(registered_entries(name))
    assert tower.at(AS_TRAINED) is tower
    assert tower.at(str(tower.image_size)) is tower


@pytest.mark.parametrize("name", ["RN50", "EVA02-L-14", "ViTamin-B", "convnext_base", "PE-Core-T-16-384"])
def test_a_tower_without_a_grid_of_position_embeddings_has_one_resolution(name: str) -> None:
    tower = identify(registered_entries(name))
    sentence = rf"^Set resolution to .as trained.; {tower.name} reads pictures of {tower.image_size} px only"
    for resolution in (DOUBLE, "448"):
        with pytest.raises(ValueError, match=sentence):
            tower.at(resolution)


def test_a_resolution_that_cuts_patches_names_those_that_do_not() -> None:
    tower = identify(registered_entries("ViT-B-32"))
    with pytest.raises(ValueError, match=r"Set resolution to one of double, 448, 672; .* patches of 32 px, and 336 px"):
        tower.at("336")
    with pytest.raises(ValueError, match="and 0 px"):
        tower.at("0")


def test_a_resolution_of_too_many_patches_is_refused() -> None:
    tower = identify(entries_of(hf_shapes(VIT_H_14)))
    assert tower.at("896").tokens == 64**2 + 1
    with pytest.raises(ValueError, match="910 px would be 65 of them along a side, and at most 64"):
        tower.at("910")


@pytest.mark.parametrize("resolution", ["triple", "", "-448", "448.0", "448 px"])
def test_an_unknown_resolution_is_named(resolution: str) -> None:
    tower = identify(entries_of(hf_shapes(VIT_H_14)))
    with pytest.raises(ValueError, match=rf"Set resolution to one of as trained, double, 336.*; found '{resolution}'"):
        tower.at(resolution)


@pytest.mark.parametrize("size", [VIT_H_14, VIT_BIGG_14, VIT_L_14, VIT_L_14_336])
def test_the_offered_resolutions_fit_the_towers_of_published_adapters(size: Size) -> None:
    tower = identify(entries_of(hf_shapes(size)))
    assert all(tower.at(resolution).image_size % size.patch == 0 for resolution in RESOLUTIONS)
