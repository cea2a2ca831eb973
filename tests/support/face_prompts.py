"""Image prompts of faces for the twins, from adapters that diffusers can load too."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from comfyui_ip_adapter.ip_adapter_core.adapters import loading as core
from comfyui_ip_adapter.ip_adapter_core.layers import layout
from comfyui_ip_adapter.ip_adapter_core.prompts.features import AdapterInputs
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from fabricate import adapters
from fabricate.adapters import KINDS, Nested
from twins import Twins, call

FACE, HIDDEN, WIDE = 512, 64, 128


PUBLISHED = {"mlp": 1024}  # the only ones that diffusers builds


def widths(twins: Twins) -> tuple[int, ...]:
    return tuple(layer.width for layer in layout.layers(twins.patcher.model.model_config.unet_config))


def faceid(twins: Twins, seed: int = 0) -> Nested:
    return adapters.adapter(widths=widths(twins), context=twins.context, seed=seed, **KINDS["FaceID"] | PUBLISHED)


def face(seed: int = 5) -> Tensor:
    return normalize(torch.randn(1, FACE, generator=torch.Generator().manual_seed(seed)), dim=1)


def prompt(nested: Nested, folder: Path, cond: AdapterInputs, uncond: AdapterInputs) -> ImagePrompt:
    return image_prompt(core.load(adapters.save(folder / "faceid.safetensors", nested)), cond, uncond)


def face_prompt(twins: Twins, folder: Path, seed: int = 0) -> ImagePrompt:
    return prompt(faceid(twins, seed), folder, (face(),), (torch.zeros(1, FACE),))


def found(twins: Twins, model: Any, order: tuple[int, ...] = (0,)) -> Tensor:
    """The noise that a MODEL predicts for two pictures of each side of the batch."""
    return twins.call_comfy(call(twins.context, 2 * len(order)), model, cond_or_uncond=list(order))
