"""Tests of ip_adapter_core/adapters/saving.py: a saved adapter is the adapter, for this package and for diffusers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from comfyui_ip_adapter.ip_adapter_core.adapters import loading as core
from comfyui_ip_adapter.ip_adapter_core.adapters import saving
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import image_prompt
from fabricate.adapters import KINDS, tiny_adapter


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_what_is_saved_is_what_was_loaded(tmp_path: Path, options: dict[str, Any], ending: str) -> None:
    first = core.load(tiny_adapter(tmp_path / f"first.{ending}", **options))
    saving.save(first, tmp_path / "inner" / "second.safetensors", "fp32")
    second = core.load(tmp_path / "inner" / "second.safetensors")
    assert second.identity() == first.identity()
    written = second.named_tensors()
    assert written.keys() == first.named_tensors().keys()
    assert all(torch.equal(weight, written[name]) for name, weight in first.named_tensors().items())
    assert [path.name for path in (tmp_path / "inner").iterdir()] == ["second.safetensors"]


def test_half_precision_is_used_where_asked_for(tmp_path: Path) -> None:
    saving.save(core.load(tiny_adapter(tmp_path / "a.safetensors")), tmp_path / "b.safetensors", "fp16")
    assert {weight.dtype for weight in load_file(tmp_path / "b.safetensors").values()} == {torch.float16}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1e6, "Choose fp32; ip_adapter.1.to_k_ip.weight does not fit into fp16"),
        (float("nan"), "Train again with a lower rate; ip_adapter.1.to_k_ip.weight holds values that are no numbers"),
    ],
)
def test_weights_that_would_be_lost_are_refused(tmp_path: Path, value: float, says: str) -> None:
    network = core.load(tiny_adapter(tmp_path / "a.safetensors")).float()
    network.layers()[0].to_k_ip.weight.data = torch.full_like(network.layers()[0].to_k_ip.weight, value)
    with pytest.raises(ValueError, match=says):
        saving.save(network, tmp_path / "b.safetensors", "fp16")
    assert not (tmp_path / "b.safetensors").exists()


def test_the_number_is_above_all_that_are_there(tmp_path: Path) -> None:
    for name in ("x_00001.safetensors", "x_00007.safetensors", "x_old.safetensors", "xy_00099.safetensors"):
        (tmp_path / name).touch()
    assert saving.free_path(tmp_path, "x").name == "x_00008.safetensors"
    assert saving.free_path(tmp_path, "in/x") == (tmp_path / "in" / "x_00001.safetensors").resolve()


@pytest.mark.parametrize(
    "prefix", ["", "../x", "/x", "in/", "in/../../x", ".", "./", "a/..", "a/../.", "x\0y", "\ud83d"]
)
def test_a_prefix_that_leads_out_of_the_folder_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="is no name there"):
        saving.free_path(tmp_path, prefix)


def test_diffusers_reads_the_file_and_makes_the_same_keys_and_values(tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel
    from diffusers.loaders import IPAdapterMixin

    class Pipeline(IPAdapterMixin):  # type: ignore[misc]
        image_encoder, feature_extractor = None, object()
        unet_name = "unet"

        def __init__(self, unet: Any) -> None:
            self.unet = unet

    blocks = {"down_block_types": ("CrossAttnDownBlock2D",), "up_block_types": ("CrossAttnUpBlock2D",)}
    unet = UNet2DConditionModel(
        block_out_channels=(32,), layers_per_block=1, cross_attention_dim=48, attention_head_dim=4, **blocks
    )
    written = tiny_adapter(tmp_path / "first.safetensors", widths=(32,) * 4, context=48, embed=40)
    network = core.load(written).float()
    saving.save(network, tmp_path / "second.safetensors", "fp32")
    Pipeline(unet).load_ip_adapter(
        str(tmp_path), "", "second.safetensors", image_encoder_folder=None, low_cpu_mem_usage=False
    )
    embeds = torch.randn(1, 40)
    prompt = image_prompt(network, (embeds,), (torch.zeros(1, 40),))
    with torch.no_grad():
        tokens = unet.encoder_hid_proj([embeds[None]])[0]
        theirs = [
            (processor.to_k_ip[0](tokens), processor.to_v_ip[0](tokens))
            for processor in unet.attn_processors.values()
            if hasattr(processor, "to_k_ip")
        ]
    assert len(theirs) == 4
    for (keys, values), ours in zip(theirs, prompt.parts[0].keys_values, strict=True):
        assert torch.allclose(keys.flatten(), ours.keys[0].flatten(), atol=1e-5)
        assert torch.allclose(values.flatten(), ours.values[0].flatten(), atol=1e-5)
