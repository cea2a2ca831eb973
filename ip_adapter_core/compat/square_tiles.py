"""A long reference as squares beside each other, each of which acts in its own part of the picture."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate

from ..vision.prepare import sharpen
from ..vision.preprocess import levels

SIDE = 256  # pixels of a tile
OLD_SIDE = 224  # before version 2
_SQUARE = (0.75, 1.33)  # ratios of height to width that count as square
_LONGEST = 4  # tiles along the long side
_ALMOST = 4  # a rest smaller than 1/_ALMOST of a tile gets none of its own


class Tiles(NamedTuple):
    """The tiles of references.

    pictures: for each tile, that of each reference, (images, side, side, 3).
    masks: for each tile, where it acts in the picture, (masks, height, width).
    """

    pictures: list[Tensor]
    masks: list[Tensor]

    def sharing(self) -> Tiles:
        """The same tiles, of which those that overlap share the place."""
        covered = torch.stack([(mask > 0).to(mask) for mask in self.masks]).sum(0).clamp(min=1)
        return Tiles(self.pictures, [mask / covered for mask in self.masks])


def square_tiles(images: Tensor, mask: Tensor | None = None, sharpening: float = 0.0) -> Tiles:
    """The tiles of IPAdapter Tiled: two by two of a picture that is almost square, else a row or column of up to four.

    images: (images, height, width, channels); mask: where the picture follows them, (masks, …), stretched over it.
    """
    height, width = images.shape[1:3]
    masks = _scaled(torch.ones(1, height, width) if mask is None else mask.float(), (height, width))
    pictures = torch.from_numpy(levels(images))
    if _SQUARE[0] < height / width < _SQUARE[1]:
        side, size = min(height, width), (2 * SIDE, 2 * SIDE)
        pictures, masks = _middle(pictures, (side, side), 1), _middle(masks, (side, side), 1)
    else:
        size = (SIDE, int(SIDE * width / height)) if height < width else (int(SIDE * height / width), SIDE)
    pictures, masks = _resized(pictures, size), _scaled(masks, size)
    longest = tuple(min(length, SIDE * _LONGEST) for length in size)
    pictures, masks = _middle(pictures, longest, 1), _middle(masks, longest, 1)
    return _cut(sharpen(pictures, sharpening), masks, SIDE)


def masked_tiles(images: Tensor, short_side: int, weight: float) -> Tiles:
    """The tiles of the masked tiles of before version 2, of the first picture alone.

    short_side: tiles along the short side. weight: of tiles where there are several in both directions; then the row of
    large tiles that lies beneath them has the weight 1.
    """
    height, width = images.shape[1:3]
    scale = OLD_SIDE * max(short_side, 1) / min(height, width)
    size = (round(height * scale), round(width * scale))
    planes = rearrange(images[:1].float(), "n h w c -> n c h w")
    scaled = interpolate(planes, size=size, mode="bicubic").clamp(0, 1)
    picture = rearrange(scaled, "n c h w -> n h w c")
    rows, columns = (_old_starts(length) for length in size)
    large = len(rows) > 1 and len(columns) > 1
    strength = weight if large else 1.0
    boxes = [(top, left) for top in rows for left in columns]
    pictures = [picture[:, top : top + OLD_SIDE, left : left + OLD_SIDE] for top, left in boxes]
    masks = [_box(size, top, left, OLD_SIDE) * strength for top, left in boxes]
    if not large:
        return Tiles(pictures, masks)
    beneath = masked_tiles(images, 1, 1.0)
    return Tiles([*beneath.pictures, *pictures], [*(_scaled(mask, size) for mask in beneath.masks), *masks])


def _cut(pictures: Tensor, masks: Tensor, side: int) -> Tiles:
    rows, columns = (_starts(length, side) for length in pictures.shape[1:3])
    found = Tiles([], [])
    for top in rows:
        for left in columns:
            found.pictures.append(pictures[:, top : top + side, left : left + side])
            found.masks.append(masks * _box(masks.shape[-2:], top, left, side))
    return found


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin that cover a side, evenly overlapping."""
    count = math.ceil(length / side)
    step = side - max(0.0, (count * side - length) / max(count - 1, 1))
    return [int(number * step) for number in range(count)]


def _old_starts(length: int) -> list[int]:
    """Where tiles begin; a small rest of a side is left at both its ends, a larger one has a tile of its own."""
    count, rest = divmod(length, OLD_SIDE)
    if rest >= OLD_SIDE // _ALMOST:
        return [*(number * OLD_SIDE for number in range(count)), length - OLD_SIDE]
    return [number * OLD_SIDE + rest // 2 for number in range(max(count, 1))]


def _box(size: tuple[int, ...], top: int, left: int, side: int) -> Tensor:
    mask = torch.zeros(1, *size)
    mask[:, top : top + side, left : left + side] = 1
    return mask


def _middle(tensor: Tensor, size: tuple[int, ...], first: int) -> Tensor:
    """The middle of pictures (n, height, width, …) or masks (n, height, width)."""
    height, width = (min(wanted, length) for wanted, length in zip(size, tensor.shape[first:], strict=False))
    top, left = (round((tensor.shape[first + axis] - length) / 2) for axis, length in enumerate((height, width)))
    return tensor[:, top : top + height, left : left + width]


def _resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    from PIL import Image

    resized = [
        np.asarray(Image.fromarray(picture.numpy()).resize(size[::-1], resample=Image.Resampling.LANCZOS))
        for picture in pictures.contiguous()
    ]
    return torch.from_numpy(np.stack(resized)).float() / 255


def _scaled(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (n, height, width) at another size."""
    if tuple(masks.shape[-2:]) == tuple(size):
        return masks
    return interpolate(masks[:, None], size=size, mode="bicubic", antialias=True)[:, 0].clamp(0, 1)
