"""Pictures as IPAdapter Plus reads them: ComfyUI's own preprocessing, and black in place of the blank image."""

from __future__ import annotations

from typing import Any

import comfy.clip_vision
import comfy.model_management as memory
import torch
from torch import Tensor

from ...ip_adapter_core.prompts.features import Features


def encode(encoder: Any, images: Tensor, mask: Tensor | None = None) -> Features:
    """Features of images (images, height, width, channels); mask (masks, size, size): where they are looked at."""
    memory.load_model_gpu(encoder.patcher)
    pixels = comfy.clip_vision.clip_preprocess(images[..., :3].to(encoder.load_device), encoder.image_size).float()
    if mask is not None:
        pixels = pixels * mask[:, None].to(pixels)
    _, penultimate, embeds, *_ = encoder.model(pixel_values=pixels, intermediate_output=-2)
    device = memory.intermediate_device()
    return Features(embeds.to(device), penultimate.to(device))


def black_features(encoder: Any) -> Features:
    """Features of a black picture."""
    size = encoder.image_size
    return encode(encoder, torch.zeros(1, size, size, 3))
