"""The fabricated files have exactly the keys and shapes that ComfyUI's own networks have."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fabricate.checkpoints import SD15_SMALLEST, TINY, tiny_checkpoint
from fabricate.encoders import taesd_shapes
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
