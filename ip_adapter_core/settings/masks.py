"""Where in a picture an image prompt acts: masks of any size, brought to the grid of each layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

Grid = tuple[int, int]
"""Height and width of a latent picture, or of a layer's activations, in cells."""

_LEVELS = 6  # resolutions, more than UNets of this construction have


def usable(mask: Tensor) -> Tensor | None:
    """A ComfyUI MASK as (frames, height, width), 0..1; None where it is white everywhere, which is no mask.

    Raises ValueError for another shape, for no pixels, and for values that are no numbers.
    """
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim != 3 or 0 in mask.shape:
        found = "x".join(map(str, mask.shape))
        raise ValueError(f"A mask of shape {found} cannot be used; needed is (masks, height, width), as MASK has it.")
    if not torch.isfinite(mask).all():
        raise ValueError("The mask contains values that are no numbers; look at the node that made it.")
    mask = mask.detach().cpu().float().clamp(0, 1)
    return None if bool((mask == 1).all()) else mask


def covers_nothing(mask: Tensor | None) -> bool:
    """Whether a mask is black everywhere, so that nothing acts anywhere: most often a mistake."""
    return mask is not None and mask.numel() > 0 and not bool(mask.any())


def product(masks: Sequence[Tensor], frames: int, grid: Grid) -> Tensor:
    """Masks of any sizes, each stretched over the picture, multiplied: (1 or frames, *grid).

    A mask that is one of several belongs to the frame of its number; the last one holds for all later frames.
    """
    together = torch.ones(1, *grid)
    for mask in masks:
        mask = mask[:frames]
        if len(mask) > 1:
            mask = mask[torch.arange(frames).clamp(max=len(mask) - 1)]
        together = together * to_grid(mask, grid)
    return together


def to_grid(mask: Tensor, grid: Grid) -> Tensor:
    """Masks (masks, height, width) over another grid, (masks, *grid): a cell is the mean of all pixels it touches."""
    return mask if tuple(mask.shape[-2:]) == grid else adaptive_avg_pool2d(mask, grid)


def crop(mask: Tensor, corner: Grid, grid: Grid) -> Tensor:
    """A part (…, *grid) of masks (…, height, width) whose upper left cell is corner; beyond an edge it goes on at the
    other."""
    rows, columns = (
        torch.arange(start, start + length, device=mask.device) % size
        for start, length, size in zip(corner, grid, mask.shape[-2:], strict=True)
    )
    return mask[..., rows[:, None], columns]


def pyramid(mask: Tensor) -> dict[Grid, Tensor]:
    """Masks (rows, height, width) as each layer of a UNet needs them: by the layer's grid, (rows, pixels, 1)."""
    return {grid: for_layer(mask, grid) for grid in grids((mask.shape[-2], mask.shape[-1]))}


def grids(finest: Grid) -> tuple[Grid, ...]:
    """The grids of a UNet's layers, from that of the latent picture on."""
    found = [finest]
    while len(found) < _LEVELS:
        height, width = found[-1]
        found.append((-(-height // 2), -(-width // 2)))  # as a convolution of stride 2 leaves them
    return tuple(found)


def for_layer(mask: Tensor, grid: Grid) -> Tensor:
    """Masks (rows, height, width) over the pixels of a layer, (rows, pixels, 1)."""
    return to_grid(mask, grid).flatten(1)[..., None]
