"""Drawn pictures as ComfyUI shows and hands them on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import comfy.utils
import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image


def to_image(drawn: Image) -> Tensor:
    """A picture as ComfyUI's IMAGE, (1, height, width, 3)."""
    return torch.from_numpy(np.asarray(drawn).copy()).float()[None] / 255


def resize_like(images: Tensor, other: Tensor) -> Tensor:
    """Pictures (images, height, width, channels) at the size of others, of which the middle is kept."""
    height, width = other.shape[1:3]
    scaled = comfy.utils.common_upscale(images.movedim(-1, 1), width, height, "bilinear", "center")
    return scaled.movedim(1, -1)
