"""References before an encoder sees them: cut to a square at a place, freed of their background, resized, sharpened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import pad

from ..text.checks import check_choice
from .borders import Border, squared
from .boxes import POSITIONS, Box, around_mask, around_point, at_position, whole
from .colours import WHITE
from .cutout import Background, masks_of, without_background
from .preprocess import check_pictures, levels

PAD, POINT, MASK = "pad", "point", "mask"
CROPS = (*POSITIONS, PAD, POINT, MASK)
"""The menu of ways to make a picture square."""

BORDERED = (PAD, MASK)
"""Those that may leave borders."""

LARGEST = 8192
"""Pixels along a side of the largest square."""

RESAMPLINGS = ("LANCZOS", "BICUBIC", "HAMMING", "BILINEAR", "BOX", "NEAREST")
"""Names of Pillow's filters."""


class Square(NamedTuple):
    """How a picture becomes a square.

    crop: one of CROPS.
    size: pixels along a side.
    resampling: one of RESAMPLINGS.
    point: for the crop at a point, its x and y as shares of the picture, 0..1; the square lies around it.
    border: around a picture, or a part of one, that is no square.
    old_numbers: whether values and borders are those of IPAdapter Plus 2: a value between two levels becomes the lower
        one; both borders are alike, and where that leaves one pixel too few, the picture is stretched.
    margin: for the crop by a mask, as in `boxes.around_mask`.
    background: what becomes of all that a mask leaves out; None when it stays.
    """

    crop: str = "center"
    size: int = 224
    resampling: str = "LANCZOS"
    point: tuple[float, float] = (0.5, 0.5)
    border: Border = Border()
    old_numbers: bool = False
    margin: float = 0.0
    background: Background | None = None

    @property
    def reads_mask(self) -> bool:
        """Whether it needs a mask."""
        return self.crop == MASK or self.background is not None


MIDDLE = Square()


def square(images: Tensor, how: Square = MIDDLE, mask: Tensor | None = None) -> Tensor:
    """Pictures as squares, (images, size, size, 3), 0..1 in eight-bit levels.

    images: (images, height, width, channels) as in `preprocess.fit`. mask: as in `cutout.masks_of`, where it is read.
    Raises ValueError for an unknown crop or resampling, a size or other number that is out of range, a mask that is
    missing or empty or white only outside of what is cut, and pictures that `fit` refuses.
    """
    _check(how, mask)
    pictures = lowered_levels(images) if how.old_numbers else levels(images)
    masks = _masks(images, how, mask)
    cuts = list(zip(pictures, masks, _boxes(images, how, masks), strict=True))
    _check_subject(cuts, how)
    squares = [_squared(picture, white, box, how) for picture, white, box in cuts]
    return torch.cat([resize(one[None], (how.size, how.size), how.resampling) for one in squares])


def boxes(images: Tensor, how: Square = MIDDLE, mask: Tensor | None = None) -> list[Box]:
    """Where each picture is cut, in its pixels; arguments and errors as in `square`."""
    _check(how, mask)
    check_pictures(images)
    return _boxes(images, how, _masks(images, how, mask))


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


def _check(how: Square, mask: Tensor | None) -> None:
    check_choice("crop", how.crop, CROPS)
    check_choice("resampling", how.resampling, RESAMPLINGS)
    if not 1 <= how.size <= LARGEST:
        raise ValueError(f"Set the size to 1 pixel or more, and {LARGEST} at most; found {how.size}.")
    if not all(0 <= share <= 1 for share in how.point):
        raise ValueError(f"Set the point to shares of the picture, 0..1; found {how.point[0]:g}, {how.point[1]:g}.")
    if not 0 <= how.margin < float("inf"):
        raise ValueError(f"Set the margin to 0 percent or more; found {how.margin:g}.")
    if how.background is not None and not 0 <= how.background.soft_edge <= 100:
        raise ValueError(f"Set soft_edge to 0 to 100 percent; found {how.background.soft_edge:g}.")
    if how.reads_mask and mask is None:
        raise ValueError(
            "Connect a mask that is white where the subject is, or choose another crop and let the background stay; "
            "found no mask."
        )


def _check_subject(cuts: Sequence[tuple[np.ndarray, Tensor | None, Box]], how: Square) -> None:
    for number, (_, white, box) in enumerate(cuts, start=1):
        if how.background is not None and white is not None and not white[_part(box)].any():
            raise ValueError(
                "Choose the crop mask, or another one that holds what the mask is white on; with crop "
                f'"{how.crop}" nothing of it is in what is cut of picture {number} of {len(cuts)}.'
            )


def _masks(images: Tensor, how: Square, mask: Tensor | None) -> list[Tensor | None]:
    """The mask of each picture where it is read."""
    if mask is None or not how.reads_mask:
        return [None] * len(images)
    return list(masks_of(mask, images))


def _boxes(images: Tensor, how: Square, masks: Sequence[Tensor | None]) -> list[Box]:
    height, width = images.shape[1:3]
    return [_box(width, height, how, mask) for mask in masks]


def _box(width: int, height: int, how: Square, mask: Tensor | None) -> Box:
    if how.crop == MASK and mask is not None:
        return around_mask(mask, how.margin)
    if how.crop == POINT:
        return around_point(width, height, how.point)
    return at_position(width, height, how.crop) if how.crop in POSITIONS else whole(width, height)


def _squared(picture: np.ndarray, mask: Tensor | None, box: Box, how: Square) -> np.ndarray:
    """The part of a picture (height, width, 3) in a box, as a square."""
    cut = picture[_part(box)]
    if how.background is not None and mask is not None:
        cut = without_background(cut, mask[_part(box)], how.background)
    return squared(cut, how.border, even=how.old_numbers)


def _part(box: Box) -> tuple[slice, slice]:
    return slice(box.top, box.bottom), slice(box.left, box.right)
