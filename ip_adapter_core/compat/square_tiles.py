"""A long reference as squares beside each other, each of which acts in its own part of the picture."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import interpolate

from ..vision.prepare import lowered_levels, resize, sharpen

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
        """The same tiles, of which those that overlap share the place; their masks are within 0..1."""
        masks = [mask.clamp(0, 1) for mask in self.masks]
        covered = torch.stack([(mask > 0).to(mask) for mask in masks]).sum(0).clamp(min=1)
        return Tiles(self.pictures, [mask / covered for mask in masks])


def square_tiles(images: Tensor, mask: Tensor | None = None, sharpening: float = 0.0) -> Tiles:
    """The tiles of IPAdapter Tiled: two by two of a picture that is almost square, else a row or column of up to four.

    images: (images, height, width, channels); mask: where the picture follows them, (masks, …), stretched over it. As
    there, levels are rounded down, and at edges of the mask its values go beyond 0..1.
    """
    height, width = images.shape[1:3]
    masks = _scaled(torch.ones(1, height, width) if mask is None else mask.float(), (height, width))
    pictures = torch.from_numpy(lowered_levels(images))
    if _SQUARE[0] < height / width < _SQUARE[1]:
        side, size = min(height, width), (2 * SIDE, 2 * SIDE)
        pictures, masks = _middle(pictures, (side, side), 1), _middle(masks, (side, side), 1)
    else:
        size = (SIDE, int(SIDE * width / height)) if height < width else (int(SIDE * height / width), SIDE)
    pictures, masks = resize(pictures.numpy(), size, "LANCZOS"), _scaled(masks, size)
    longest = tuple(min(length, SIDE * _LONGEST) for length in size)
    pictures, masks = _middle(pictures, longest, 1), _middle(masks, longest, 1)
    return _cut(sharpen(pictures, sharpening), masks, SIDE)


def masked_tiles(images: Tensor, short_side: int, weight: float) -> Tiles:
    """The tiles of the masked tiles of before version 2, of the first picture alone.

    short_side: tiles along the short side; 0 leaves the pictures whole. weight: of tiles where there are several in
    both directions; then the row of large tiles that lies beneath them has the weight 1.
    """
    if not short_side:
        return Tiles([images], [torch.ones(1, *images.shape[1:3])])
    picture = _with_short_side(images[:1].float(), OLD_SIDE * short_side)
    height, width = picture.shape[1:3]
    rows, columns = _old_spans(height), _old_spans(width)
    boxes = [(slice(*row), slice(*column)) for row in rows for column in columns]
    several = min(len(rows), len(columns)) > 1
    pictures = [picture[:, row, column] for row, column in boxes]
    masks = [_box((height, width), row, column) * (weight if several else 1.0) for row, column in boxes]
    if not several:
        return Tiles(pictures, masks)
    beneath = masked_tiles(picture, 1, 1.0)
    large = [_stretched(tile, pictures[0].shape[1:3]) for tile in beneath.pictures]
    covers = [_stretched(mask[..., None], (height, width))[..., 0] for mask in beneath.masks]
    return Tiles([*large, *pictures], [*covers, *masks])


def _cut(pictures: Tensor, masks: Tensor, side: int) -> Tiles:
    rows, columns = (_starts(length, side) for length in pictures.shape[1:3])
    found = Tiles([], [])
    for top in rows:
        for left in columns:
            row, column = slice(top, top + side), slice(left, left + side)
            found.pictures.append(pictures[:, row, column])
            found.masks.append(masks * _box(masks.shape[-2:], row, column))
    return found


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin that cover a side, evenly overlapping."""
    count = math.ceil(length / side)
    step = side - max(0.0, (count * side - length) / max(count - 1, 1))
    return [int(number * step) for number in range(count)]


def _old_spans(length: int) -> list[tuple[int, int]]:
    """Where tiles begin and end; a small rest of a side is shared among them, a larger one has a tile of its own."""
    count, rest = divmod(length, OLD_SIDE)
    more = rest >= OLD_SIDE // _ALMOST
    margin = 0 if more else rest // 2
    spans = ((number * OLD_SIDE + margin, (number + 1) * OLD_SIDE + 2 * margin) for number in range(count + more))
    return [(min(start, length - OLD_SIDE), min(end, length)) for start, end in spans]


def _box(size: tuple[int, ...], rows: slice, columns: slice) -> Tensor:
    mask = torch.zeros(1, *size)
    mask[:, rows, columns] = 1
    return mask


def _middle(tensor: Tensor, size: tuple[int, ...], first: int) -> Tensor:
    """The middle of pictures (n, height, width, …) or masks (n, height, width)."""
    height, width = (min(wanted, length) for wanted, length in zip(size, tensor.shape[first:], strict=False))
    top, left = (round((tensor.shape[first + axis] - length) / 2) for axis, length in enumerate((height, width)))
    return tensor[:, top : top + height, left : left + width]


def _scaled(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (n, height, width) at another size."""
    if tuple(masks.shape[-2:]) == tuple(size):
        return masks
    return interpolate(masks[:, None], size=size, mode="bicubic", antialias=True)[:, 0]


def _with_short_side(pictures: Tensor, side: int) -> Tensor:
    """Pictures (n, height, width, channels) whose short side has so many pixels."""
    height, width = pictures.shape[1:3]
    return _stretched(pictures, (height * side // min(height, width), width * side // min(height, width)))


def _stretched(pictures: Tensor, size: tuple[int, ...]) -> Tensor:
    """Pictures (n, height, width, channels) at another size; interpolation is not smoothed, as it was."""
    if tuple(pictures.shape[1:3]) == tuple(size):
        return pictures
    planes = rearrange(pictures, "n h w c -> n c h w")
    return rearrange(interpolate(planes, size=tuple(size), mode="bicubic"), "n c h w -> n h w c")
