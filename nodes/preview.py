"""Pictures as a node shows them: never a dot, as the classic canvas draws every pixel at most once."""

from __future__ import annotations

from math import ceil

from comfy_api.latest import io, ui
from torch import Tensor

_LEAST = 224  # pixels of the longer side


def preview(images: Tensor, cls: type[io.ComfyNode]) -> ui.PreviewImage:
    """The preview of pictures (images, height, width, channels); small ones are shown in whole larger pixels."""
    return ui.PreviewImage(enlarged(images), cls=cls)


def enlarged(images: Tensor) -> Tensor:
    """Pictures (images, height, width, channels) of at least 224 pixels on the longer side, each pixel a square."""
    times = ceil(_LEAST / max(images.shape[1:3]))
    if times == 1:
        return images
    return images.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
