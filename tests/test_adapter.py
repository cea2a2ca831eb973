"""Every published file is identified as itself, loaded strictly, and anything else is refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import published_shapes
from comfyui_ip_adapter.ip_adapter_core.adapter import identify, load
from comfyui_ip_adapter.ip_adapter_core.weightfile import Entry, UnsupportedCheckpoint
from fabricate import adapters

Nested = dict[str, dict[str, Tensor]]


@pytest.mark.parametrize("file", published_shapes.FILES)
def test_published_files_are_identified_by_their_tensors(file: str) -> None:
    family, (_, sizes), kind, parameters = published_shapes.FILES[file]
    named = published_shapes.entries(file)
    identity = identify(named)
    assert identity.variant.name == kind
    assert identity.geometry.describe().startswith(f"{family} (")
    assert identity.tokens == sizes.get("tokens")
    assert identity.input_width == sizes["embed"]
    assert sum(torch.Size(entry.shape).numel() for entry in named.values()) == parameters


@pytest.mark.parametrize(
    ("file", "encoder"),
    [
        ("ip-adapter_sd15", "CLIP-ViT-H-14"),
        ("ip-adapter_sd15_vit-G", "CLIP-ViT-bigG-14"),
        ("ip-adapter-plus_sd15", "CLIP-ViT-H-14"),
        ("ip-adapter_sdxl", "CLIP-ViT-bigG-14"),
    ],
)
def test_the_encoder_of_an_adapter_is_known(file: str, encoder: str) -> None:
    assert identify(published_shapes.entries(file)).encoder == encoder


def test_the_order_of_names_in_a_file_does_not_matter() -> None:
    named = published_shapes.entries("ip-adapter_sd15")
    shuffled = dict(sorted(named.items(), reverse=True))
    assert identify(shuffled) == identify(named)


@pytest.mark.parametrize("name", ["adapter.bin", "adapter.safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["base", "plus", "full face"])
def test_loaded_weights_are_those_of_the_file(tmp_path: Path, name: str, dtype: torch.dtype, kind: str) -> None:
    nested = adapters.adapter(kind, seed=4)
    network = load(adapters.save(tmp_path / name, nested, dtype))
    found = network.state_dict()
    for key, value in adapters.flat(nested).items():
        assert torch.equal(found[key], value.to(dtype)), key


def test_a_raw_training_checkpoint_gives_the_same_adapter(tmp_path: Path) -> None:
    nested = adapters.adapter()
    raw = {f"image_proj_model.{key}": value for key, value in nested["image_proj"].items()}
    raw |= {f"adapter_modules.{key}": value for key, value in nested["ip_adapter"].items()}
    raw["unet.conv_in.weight"] = torch.zeros(4)
    torch.save(raw, tmp_path / "raw.bin")
    plain = load(adapters.save(tmp_path / "plain.bin", nested)).state_dict()
    found = load(tmp_path / "raw.bin").state_dict()
    assert all(torch.equal(found[key], value) for key, value in plain.items())


def test_layers_are_sorted_by_number_not_by_letter(tmp_path: Path) -> None:
    network = load(adapters.save(tmp_path / "a.safetensors", adapters.adapter()))
    widths = tuple(pair.keys.shape[-1] for pair in network.keys_values(torch.zeros(1, 4, adapters.TINY_CONTEXT)))
    assert widths == adapters.TINY_WIDTHS


def _without(key: str) -> Any:
    return lambda named: named.pop(key)


def _with(key: str, *shape: int) -> Any:
    return lambda named: named.update({key: Entry(shape, "F16")})


def _execution_order(named: dict[str, Entry]) -> None:
    """The middle block after the input blocks, numbers unchanged."""
    for key in ("to_k_ip", "to_v_ip"):
        widths = [named[f"ip_adapter.{n}.{key}.weight"] for n in range(1, 32, 2)]
        for n, entry in zip(range(1, 32, 2), widths[:6] + widths[-1:] + widths[6:-1], strict=True):
            named[f"ip_adapter.{n}.{key}.weight"] = entry


BROKEN = {
    "a projection tensor is missing": (_without("image_proj.norm.bias"), "lacks image_proj.norm.bias"),
    "a layer tensor is missing": (_without("ip_adapter.17.to_v_ip.weight"), "to_v_ip"),
    "a tensor has another shape": (_with("image_proj.proj.bias", 3071), r"image_proj.proj.bias has shape \[3071\]"),
    "an unknown tensor is there": (_with("image_proj.extra.weight", 4), "holds image_proj.extra.weight"),
    "an unknown layer tensor is there": (
        _with("ip_adapter.1.to_q_ip.weight", 4, 4),
        "holds ip_adapter.1.to_q_ip.weight",
    ),
    "layers have execution numbers": (_with("ip_adapter.000.to_k_ip.weight", 4, 4), "numbered in another way"),
    "layers are in execution order": (_execution_order, "numbered in execution order"),
    "a foreign tensor is there": (_with("lora_unet_mid.weight", 4), "it holds a LoRA"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_refused_naming_what_is_wrong(what: str) -> None:
    change, message = BROKEN[what]
    named = published_shapes.entries("ip-adapter_sd15")
    change(named)
    with pytest.raises(UnsupportedCheckpoint, match=message):
        identify(named)


def test_a_missing_layer_is_named() -> None:
    named = published_shapes.entries("ip-adapter_sd15")
    del named["ip_adapter.17.to_k_ip.weight"], named["ip_adapter.17.to_v_ip.weight"]
    with pytest.raises(UnsupportedCheckpoint, match="has no layer 17"):
        identify(named)


OTHERS = {
    "perceiver_resampler.proj_in.weight": ((1280, 1280), "a FaceID-Plus adapter"),
    "time_embedding.linear_1.weight": ((1280, 320), "an adapter for SD3.5"),
    "proj_in.weight": ((1280, 512), "a FaceID portrait or InstantID adapter"),
}


@pytest.mark.parametrize("key", OTHERS)
def test_kinds_that_are_not_run_are_recognised(key: str) -> None:
    shape, what = OTHERS[key]
    named = {f"image_proj.{key}": Entry(shape, "F16"), "ip_adapter.1.to_k_ip.weight": Entry((320, 768), "F16")}
    with pytest.raises(UnsupportedCheckpoint, match=f"This is {what}"):
        identify(named)


def test_a_faceid_adapter_is_recognised() -> None:
    named = published_shapes.entries("ip-adapter_sd15")
    named["image_proj.proj.0.weight"] = Entry((1024, 512), "F16")
    with pytest.raises(UnsupportedCheckpoint, match="This is a FaceID adapter"):
        identify(named)


@pytest.mark.parametrize(
    ("named", "what"),
    [
        ({"model.diffusion_model.input_blocks.0.0.weight": (4,)}, "a Stable Diffusion checkpoint"),
        ({"vision_model.post_layernorm.weight": (4,)}, "a CLIP vision encoder"),
        ({"ip_adapter.1.to_k_ip.weight": (320, 768)}, "no image projection"),
        ({"image_proj.proj.weight": (4, 4)}, "no cross-attention layers"),
        ({}, "no image projection"),
    ],
)
def test_other_files_are_no_adapters(named: dict[str, tuple[int, ...]], what: str) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=what):
        identify({key: Entry(shape, "F16") for key, shape in named.items()})
