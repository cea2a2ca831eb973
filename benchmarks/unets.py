"""Real UNets of ComfyUI in their published sizes, with random weights: what is measured on."""

from __future__ import annotations

from typing import Any

import torch
from comfy import ops, supported_models
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ..ip_adapter_core.layers.families import CONFIGS

CLASSES: dict[str, Any] = {"SD1.5": supported_models.SD15, "SDXL": supported_models.SDXL}
TEXT_TOKENS = 77

_COMMON = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "use_spatial_transformer": True,
    "legacy": False,
}
_SEQUENTIAL = {"num_classes": "sequential"}  # of models that also read a pooled text
_NOISE = 1 << 20


def unet(family: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> ModelPatcher:
    """A MODEL of a row of CLASSES with random weights."""
    made = _empty(family, dtype, device)
    fill(made.model.diffusion_model)
    return made


def hollow(family: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> ModelPatcher:
    """A MODEL whose weights have no values, nor any memory until they are written; for what never calls its network."""
    made = _empty(family, dtype, device)
    made.model.memory_required = lambda *given, **more: 0  # so samplers never take cond and uncond apart
    return made


def fill(network: nn.Module) -> None:
    """Random weights in place that keep activations about as large as they are."""
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(_NOISE, generator=random)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(float(name.endswith("weight")))
            else:
                parameter.copy_(_repeated(noise, parameter) * parameter[0].numel() ** -0.5)


def _empty(family: str, dtype: torch.dtype, device: str) -> ModelPatcher:
    kind = CLASSES[family]
    config = kind({**_COMMON, **CONFIGS[family], **kind.unet_config, "dtype": dtype} | _read_beside(kind))
    config.set_inference_dtype(dtype, None)
    config.custom_operations = ops.disable_weight_init
    place = torch.device(device)
    return ModelPatcher(config.get_model({}, device=place), load_device=place, offload_device=place)


def pooled_width(model: ModelPatcher) -> int | None:
    """Width of the pooled text and the sizes that the network reads beside the text; None where it reads none."""
    width: int | None = model.model.model_config.unet_config.get("adm_in_channels")
    return width


def context(model: ModelPatcher) -> int:
    """Width of what the cross-attentions read."""
    width: int = model.model.model_config.unet_config["context_dim"]
    return width


def _read_beside(kind: Any) -> dict[str, Any]:
    return _SEQUENTIAL if kind.unet_config.get("adm_in_channels") else {}


def _repeated(noise: Tensor, parameter: Tensor) -> Tensor:
    """As many numbers as the parameter has: random ones are slow to make."""
    times = -(-parameter.numel() // len(noise))
    return noise.repeat(times)[: parameter.numel()].reshape(parameter.shape)
