"""Whether text and image attention of a layer run as one kernel: only where IP_ADAPTER_FUSED=1 asks for it.

It has not been measured on a real GPU yet, so nobody gets it unasked.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from ...ip_adapter_core import fused
from ...ip_adapter_core.masks import Grid
from ...ip_adapter_core.stacks import Image, Stack, mask_for

_SWITCH = "IP_ADAPTER_FUSED"


@cache
def wanted(device: torch.device) -> bool:
    """Whether it is asked for, and can run on this device."""
    if os.environ.get(_SWITCH) != "1":
        return False
    possible = fused.available(device)
    logging.info("IP-Adapter: the fused attention kernel is %s on %s.", "used" if possible else "not available", device)
    return possible


def attention(
    q: Tensor, k: Tensor, v: Tensor, images: Sequence[Image | Stack], heads: int, grid: Grid
) -> Tensor | None:
    """Text attention and all image attentions of a layer (batch, pixels, inner); None for shapes the kernel has not."""
    alone = [image for image in images if isinstance(image, Image)]
    if len(alone) < len(images):
        return None
    groups = [(*image.image, image.emphasis, mask_for(image, grid)) for image in alone]
    return fused.attention(q, k, v, groups, heads) if fused.qualifies(q, k, v, groups, heads) else None
