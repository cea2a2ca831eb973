"""The fabricated files have exactly the keys and shapes that ComfyUI's own networks have."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fabricate.checkpoints import SD15_SMALLEST, TINY, tiny_checkpoint
from fabricate.encoders import taesd_shapes
from fabricate.flux import TINY as TINY_FLUX
from fabricate.flux import flux_shapes, t5_shapes, tiny_clip_l
from fabricate.unet import Shapes, UNet, controlnet_shapes, unet_shapes


def host_arguments(unet: UNet) -> dict[str, Any]:
    """The same numbers in the host's words."""
    depths = [int(attends) for attends in unet.attends]
    return {
        "image_size": 32,
        "in_channels": unet.in_channels,
        "model_channels": unet.channels,
        "context_dim": unet.context,
        "channel_mult": list(unet.multipliers),
        "num_res_blocks": [unet.blocks] * len(unet.multipliers),
        "transformer_depth": [depth for depth in depths for _ in range(unet.blocks)],
        "transformer_depth_output": [depth for depth in depths for _ in range(unet.blocks + 1)],
        "transformer_depth_middle": 1,
        "num_heads": 8,
        "use_spatial_transformer": True,
        "legacy": False,
    }


def shapes_of(network: torch.nn.Module) -> Shapes:
    return {key: tuple(weight.shape) for key, weight in network.state_dict().items()}


@pytest.mark.parametrize("unet", [TINY, TINY._replace(in_channels=9), SD15_SMALLEST])
@pytest.mark.usefixtures("comfy")
def test_the_unet_has_the_keys_and_shapes_of_the_host(unet: UNet) -> None:
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    with torch.device("meta"):
        network = UNetModel(out_channels=4, **host_arguments(unet))
    assert unet_shapes(unet) == shapes_of(network)


@pytest.mark.usefixtures("comfy")
def test_the_controlnet_has_the_keys_and_shapes_of_the_host() -> None:
    from comfy.cldm.cldm import ControlNet

    with torch.device("meta"):
        network = ControlNet(hint_channels=3, **host_arguments(TINY))
    assert controlnet_shapes(TINY) == shapes_of(network)


@pytest.mark.usefixtures("comfy")
def test_the_autoencoder_has_the_keys_and_shapes_of_the_host() -> None:
    from comfy.taesd.taesd import TAESD

    with torch.device("meta"):
        network = TAESD()
    assert taesd_shapes() == shapes_of(network)


def test_the_same_seed_fabricates_the_same_file(tmp_path: Path) -> None:
    first, again, other = (
        load_file(tiny_checkpoint(tmp_path / f"{name}.safetensors", seed=seed))["model.diffusion_model.out.2.weight"]
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.usefixtures("comfy")
def test_the_host_takes_the_small_flux_for_the_dev_version_of_these_sizes() -> None:
    from comfy import model_detection, ops
    from comfy.ldm.flux.model import Flux

    shapes = flux_shapes(TINY_FLUX)
    weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    found = model_detection.model_config_from_unet(weights, "")
    assert type(found).__name__ == "Flux"
    config = {name: value for name, value in found.unet_config.items() if name not in ("image_model", "dtype")}
    network = Flux(device="meta", dtype=torch.float16, operations=ops.disable_weight_init, **config)
    assert {name.replace("_norm.scale", "_norm.weight"): shape for name, shape in shapes.items()} == shapes_of(network)


@pytest.mark.usefixtures("comfy")
def test_the_text_encoders_of_flux_have_the_keys_and_shapes_of_the_host(tmp_path: Path) -> None:
    from comfy import ops, sd1_clip
    from comfy.text_encoders.t5 import T5

    sizes = {"num_layers": 2, "d_model": 48, "d_kv": 64, "num_heads": 2, "d_ff": 96, "vocab_size": 32128}
    words = {"dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True, "model_type": "t5"}
    t5 = T5({**sizes, **words}, torch.float16, "meta", ops.disable_weight_init)
    assert shapes_of(t5) == t5_shapes(48, layers=2, heads=2, feed=96)
    clip = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 128}
    text = sd1_clip.SDClipModel(device="meta", model_options={"clip_l_model_config": clip}).transformer
    found = {name: tuple(value.shape) for name, value in load_file(tiny_clip_l(tmp_path / "l.safetensors")).items()}
    assert shapes_of(text) == found | {"text_projection.weight": (64, 64)}  # which Flux does not read
