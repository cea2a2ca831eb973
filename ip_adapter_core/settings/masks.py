"""Where in a picture an image prompt acts: masks of any size, brought to the grid of each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad

Grid = tuple[int, int]
"""Height and width of a latent picture, or of a layer's activations, in cells."""

_LEVELS = 6  # resolutions, more than UNets of this construction have


def usable(mask: Tensor, beyond: bool = False) -> Tensor | None:
    """A ComfyUI MASK as (frames, height, width), 0..1; None when it is white everywhere and so masks nothing.

    beyond: whether values may lie beyond 0..1. Raises ValueError for another shape, for a mask without pixels, and for
    values that are no numbers.
    """
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim != 3 or 0 in mask.shape:
        shape = "x".join(map(str, mask.shape))
        raise ValueError(f"Connect a mask of shape (masks, height, width), as MASK has it; found {shape}.")
    if not torch.isfinite(mask).all():
        raise ValueError("Look at the node that made the mask; it contains values that are no numbers.")
    mask = mask.detach().cpu().float()
    mask = mask if beyond else mask.clamp(0, 1)
    return None if bool((mask == 1).all()) else mask


def covers_nothing(mask: Tensor | None) -> bool:
    """Whether a mask is black everywhere: then the prompt acts nowhere, which is most often a mistake."""
    return mask is not None and mask.numel() > 0 and not bool(mask.any())


def product(masks: Sequence[Tensor], frames: int, grid: Grid) -> Tensor:
    """The product of masks of any sizes, each stretched over the picture: (1 or frames, *grid).

    In a batch of masks, each belongs to the frame of its number; the last one counts for all later frames.
    """
    together = torch.ones(1, *grid)
    for mask in masks:
        together = together * to_grid(_of_frames(mask, frames), grid)
    return together


def product_at_points(masks: Sequence[Tensor], frames: int, layer: Grid, whole: Grid) -> Tensor:
    """The product of masks over the pixels of a layer, (1 or frames, pixels, 1), as IPAdapter Plus reads them.

    whole: the grid of the latent picture.
    """
    together = torch.ones(1, math.prod(layer), 1)
    for mask in masks:
        together = together * _at_points(_of_frames(mask, frames), math.prod(layer), whole)
    return together


def _of_frames(mask: Tensor, frames: int) -> Tensor:
    mask = mask[:frames]
    return mask[torch.arange(frames).clamp(max=len(mask) - 1)] if len(mask) > 1 else mask


def _at_points(mask: Tensor, pixels: int, whole: Grid) -> Tensor:
    """Masks (masks, height, width) over the pixels of a layer, (masks, pixels, 1), each read between four of theirs.

    The rows of the layer are told from its number of pixels, as there: for sizes that halve with a rest, they are
    others than the layer has.
    """
    rows = max(1, int(whole[0] / math.sqrt(math.prod(whole) / pixels)))
    rows += pixels % rows != 0
    read = interpolate(mask[:, None], (rows, pixels // rows), mode="bilinear")[:, 0].flatten(1)
    missing = pixels - read.shape[1]
    before = int(missing / 2)
    return pad(read, (before, missing - before))[..., None]


def to_grid(mask: Tensor, grid: Grid) -> Tensor:
    """Masks (masks, height, width) over another grid, (masks, *grid): a cell is the mean of all pixels it touches."""
    return mask if tuple(mask.shape[-2:]) == grid else adaptive_avg_pool2d(mask, grid)


def crop(mask: Tensor, corner: Grid, grid: Grid) -> Tensor:
    """The part (…, *grid) of masks (…, height, width) with its upper left cell at corner.

    Beyond an edge the part continues at the opposite edge.
    """
    rows, columns = (
        torch.arange(start, start + length, device=mask.device) % size
        for start, length, size in zip(corner, grid, mask.shape[-2:], strict=True)
    )
    return mask[..., rows[:, None], columns]


def pyramid(mask: Tensor) -> dict[Grid, Tensor]:
    """Masks (rows, height, width) for every layer of a UNet: by the layer's grid, (rows, pixels, 1)."""
    return {grid: for_layer(mask, grid) for grid in grids((mask.shape[-2], mask.shape[-1]))}


def grids(finest: Grid) -> tuple[Grid, ...]:
    """The grids of a UNet's layers, beginning with the grid of the latent picture."""
    levels = [finest]
    while len(levels) < _LEVELS:
        height, width = levels[-1]
        levels.append((-(-height // 2), -(-width // 2)))  # rounded up, like a convolution of stride 2
    return tuple(levels)


def for_layer(mask: Tensor, grid: Grid) -> Tensor:
    """Masks (rows, height, width) over the pixels of a layer, (rows, pixels, 1)."""
    return to_grid(mask, grid).flatten(1)[..., None]
