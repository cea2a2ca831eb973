"""A subject without its background: all that a mask leaves out becomes one colour, with a soft edge.

As with a reference's mask, this is done before a picture is resized, so that no filter carries the background inwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..settings.masks import usable
from .preprocess import CLIP_MEAN
from .reference_mask import TURN_ROUND, as_large, softened

_LEVELS = 255


class Background(NamedTuple):
    """What becomes of a background.

    colour: 0..1.
    soft_edge: how far the edge fades inwards, in percent of the square that the picture becomes; 0 is as the mask.
    """

    colour: Sequence[float] = CLIP_MEAN
    soft_edge: float = 2.0


def masks_of(mask: Tensor, images: Tensor) -> Tensor:
    """What a mask is white on in each picture, (images, height, width), 0..1, in eight-bit levels.

    mask: a ComfyUI MASK of any size, one for each picture or one for all. images: (images, height, width, channels).
    Raises ValueError for another number of masks, and for one that is black everywhere.
    """
    count, height, width = images.shape[:3]
    white = usable(mask)
    if white is None:
        return torch.ones(count, height, width)
    masks = (as_large(white, images, "mask") * _LEVELS).round() / _LEVELS
    for number, one in enumerate(masks, start=1):
        if not one.any():
            raise ValueError(
                f"Make white in the mask what is to stay of picture {number} of {count}; it is black everywhere. "
                f"{TURN_ROUND}"
            )
    return masks


def without_background(picture: np.ndarray, mask: Tensor, background: Background) -> np.ndarray:
    """A picture (height, width, 3) in eight-bit levels, of which what a mask (height, width) leaves out is one colour.

    The edge fades inwards: no pixel outside of the mask is seen. A white mask changes nothing.
    """
    radius = round(max(mask.shape) * background.soft_edge / 100)
    share = mask * softened(mask[None], radius)[0] if radius else mask
    seen = torch.from_numpy(np.ascontiguousarray(picture)).float() / _LEVELS
    faded = seen.new_tensor(background.colour).lerp(seen, share[..., None])
    return (faded * _LEVELS).round().to(torch.uint8).numpy()
