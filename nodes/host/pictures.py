"""Drawn pictures as ComfyUI shows and hands them on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image


def to_image(drawn: Image) -> Tensor:
    """A picture as ComfyUI's IMAGE, (1, height, width, 3)."""
    return torch.from_numpy(np.asarray(drawn).copy()).float()[None] / 255
