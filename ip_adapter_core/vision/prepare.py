"""References before an encoder sees them: cut to a square at a place, resized, sharpened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import pad

from ..text.checks import check_choice
from .preprocess import CLIP_MEAN, levels

POSITIONS: dict[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "top": (0.5, 0.0),
    "bottom": (0.5, 1.0),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
}
"""Where the square lies: shares of the free space to its left and above it, 0..1."""

PAD, POINT = "pad", "point"
CROPS = (*POSITIONS, PAD, POINT)
"""The menu of ways to make a picture square."""

RESAMPLINGS = ("LANCZOS", "BICUBIC", "HAMMING", "BILINEAR", "BOX", "NEAREST")
"""Names of Pillow's filters."""

BLACK, WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


class Square(NamedTuple):
    """How a picture becomes a square.

    crop: one of CROPS.
    size: pixels along a side.
    resampling: one of RESAMPLINGS.
    point: for the crop at a point, its x and y as shares of the picture, 0..1; the square lies around it.
    border: colour around a padded picture.
    old_numbers: whether values and borders are those of IPAdapter Plus 2: a value between two levels becomes the lower
        one; both borders are alike, and where that leaves one pixel too few, the picture is stretched.
    """

    crop: str = "center"
    size: int = 224
    resampling: str = "LANCZOS"
    point: tuple[float, float] = (0.5, 0.5)
    border: Sequence[float] = CLIP_MEAN
    old_numbers: bool = False


MIDDLE = Square()


def square(images: Tensor, how: Square = MIDDLE) -> Tensor:
    """Pictures as squares, (images, size, size, 3), 0..1 in eight-bit levels.

    images: (images, height, width, channels) as in `preprocess.fit`. Raises ValueError for an unknown crop or
    resampling, a size below 1, a point outside of the picture, and pictures that `fit` refuses.
    """
    _check(how)
    pictures = lowered_levels(images) if how.old_numbers else levels(images)
    cut = _padded(pictures, how) if how.crop == PAD else _cropped(pictures, how)
    if cut.shape[1:3] == (how.size, how.size):
        return torch.from_numpy(cut).float() / 255
    return resize(cut, (how.size, how.size), how.resampling)


def lowered_levels(images: Tensor) -> np.ndarray:
    """As `preprocess.levels`, but a value between two levels becomes the lower one."""
    return levels((images.float() * 255).floor() / 255)


def resize(pictures: np.ndarray, size: tuple[int, int], resampling: str) -> Tensor:
    """Pictures (images, height, width, 3) in eight-bit levels at another height and width, 0..1, by Pillow.

    resampling: one of RESAMPLINGS.
    """
    from PIL import Image

    filter_ = Image.Resampling[resampling]
    resized = [Image.fromarray(np.ascontiguousarray(picture)).resize(size[::-1], filter_) for picture in pictures]
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in resized])).float() / 255


def sharpen(images: Tensor, amount: float) -> Tensor:
    """Contrast-adaptive sharpening; amount 0..1, 0 changes nothing. images: (images, height, width, channels), 0..1.

    Where neighbours differ little, it sharpens more. Source of the formula: AMD FidelityFX CAS, in the form in which
    IPAdapter Plus uses it.
    """
    if not amount:
        return images
    planes = pad(rearrange(images, "n h w c -> n c h w"), (1, 1, 1, 1))
    rows, columns = planes.shape[-2] - 2, planes.shape[-1] - 2
    near = {(y, x): planes[..., y : y + rows, x : x + columns] for y in range(3) for x in range(3)}
    cross = torch.stack([near[place] for place in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1))])
    corners = torch.stack([near[place] for place in ((0, 0), (0, 2), (2, 0), (2, 2))])
    least = cross.amin(0).clamp(min=0) + corners.amin(0).clamp(min=0)
    most = cross.amax(0).clamp(max=1) + corners.amax(0).clamp(max=1)
    strength = (most.reciprocal() * torch.minimum(least, 2 - most)).sqrt()  # as there, to the last bit
    weight = -strength * (amount * (1 / 5 - 1 / 8) + 1 / 8)
    beside = near[0, 1] + near[1, 0] + near[1, 2] + near[2, 1]
    sharp = torch.nan_to_num((beside * weight + near[1, 1]) * (1 + 4 * weight).reciprocal()).clamp(0, 1)
    return rearrange(sharp, "n c h w -> n h w c").contiguous()


def frame(images: Tensor, margin: int, colour: Sequence[float] = WHITE) -> Tensor:
    """Pictures (images, height, width, 3) with a border of so many pixels."""
    count, height, width, _ = images.shape
    framed = images.new_tensor(colour).expand(count, height + 2 * margin, width + 2 * margin, 3).clone()
    framed[:, margin : margin + height, margin : margin + width] = images
    return framed


def _check(how: Square) -> None:
    check_choice("crop", how.crop, CROPS)
    check_choice("resampling", how.resampling, RESAMPLINGS)
    if how.size < 1:
        raise ValueError(f"Set the size to 1 pixel or more; found {how.size}.")
    if not all(0 <= share <= 1 for share in how.point):
        raise ValueError(f"Set the point to shares of the picture, 0..1; found {how.point[0]:g}, {how.point[1]:g}.")


def _cropped(pictures: np.ndarray, how: Square) -> np.ndarray:
    height, width = pictures.shape[1:3]
    side = min(height, width)
    left, top = (_start(axis, how, length, side) for axis, length in enumerate((width, height)))
    return pictures[:, top : top + side, left : left + side]


def _start(axis: int, how: Square, length: int, side: int) -> int:
    """Where the square begins along the x (0) or y axis (1)."""
    free = length - side
    if how.crop == POINT:
        return min(max(round(how.point[axis] * length - side / 2), 0), free)
    return int(POSITIONS[how.crop][axis] * free)


def _padded(pictures: np.ndarray, how: Square) -> np.ndarray:
    count, height, width, _ = pictures.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    outer = (height + 2 * top, width + 2 * left) if how.old_numbers else (side, side)
    canvas = np.empty((count, *outer, 3), dtype=np.uint8)
    canvas[:] = np.round(np.asarray(how.border) * 255)
    canvas[:, top : top + height, left : left + width] = pictures
    return canvas
