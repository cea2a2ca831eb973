"""Where in the whole picture of a step do the parts lie that a model is called on, so that a mask acts in its place?

What the host says: only the areas that it cuts out for conds itself. Parts of context windows over the picture and of
samplers in tiles come without their place; but they are cut out of the same noisy picture, and numbers of noise do not
repeat, so a part is searched for in it.

Where a part is not found, it counts as the whole picture, with a warning: masks then act in each part as if it were
all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ....ip_adapter_core.settings.masks import Grid, crop
from ..warn import warn_once

Area = tuple[int, int, int, int]
"""Height, width, and the corner of a part of a picture."""

_MAX_CANDIDATES = 64  # places that look alike; with more of them a part is not searched for

LOST_PARTS = (
    "IP-Adapter: this sampler gives the model parts of a picture that are not to be found in it; "
    "masks of image prompts act in each part as if it were the whole picture."
)
REPEATED_RUNS = (
    "IP-Adapter: this node samples more than once. Where it samples parts of a picture by themselves (upscaling in "
    "tiles, detailing of faces), nothing tells where they lie, and masks of image prompts act in each part as if "
    "it were the whole picture: give that node a model with prompts without masks, or masks made for the part."
)


class Crops(NamedTuple):
    """Where each group of rows of a batch lies in a whole picture.

    whole: height and width of the whole picture, in latent cells.
    grid: height and width of each part; equal to `whole` where a part was not found.
    corners: the upper left cell of the part of each group.
    """

    whole: Grid
    grid: Grid
    corners: tuple[Grid, ...]

    @staticmethod
    def everywhere(grid: Grid, groups: int) -> Crops:
        """All of the picture, for each of a number of groups."""
        return Crops(grid, grid, ((0, 0),) * groups)


def of_parts(x: Tensor, firsts: Sequence[int], whole: Tensor | None, areas: Sequence[Area | None] = ()) -> Crops:
    """Where the parts of a batch x (rows, channels, height, width) lie in a whole noisy picture.

    firsts: the first row of each group.
    whole: (channels, height, width); None where it is not known.
    areas: for the cond of each group, the part that the host cuts out.
    """
    grid = grid_of(x)
    if whole is None or grid_of(whole) == grid:
        return Crops.everywhere(grid, len(firsts))
    from_host = [area[2:] if area is not None and area[:2] == grid else None for area in areas] or [None] * len(firsts)
    searched = [corner or corner_of(whole, x[row]) for row, corner in zip(firsts, from_host, strict=True)]
    corners = tuple(corner for corner in searched if corner is not None)
    if len(corners) < len(searched):
        warn_once(LOST_PARTS)
        return Crops.everywhere(grid, len(firsts))
    return Crops(grid_of(whole), grid, corners)


def grid_of(x: Tensor) -> Grid:
    """Height and width of latent pictures."""
    return x.shape[-2], x.shape[-1]


def whole_picture(x: Tensor, last: Tensor | None, run: Grid) -> Tensor:
    """The whole picture of a step: x itself, at whatever size, or the last whole one if x is a crop of that.

    x: what a guider is called with, (pictures, channels, height, width).
    last: the last whole picture.
    run: height and width of the run.
    """
    height, width = grid_of(x)
    if (height, width) == run or height > run[0] or width > run[1]:
        return x
    if last is not None and corner_of(last[0], x[0]) is not None:
        return last
    if last is None or not torch.equal(x[0, ..., 0, 0], last[0, ..., 0, 0]):  # not every second cell of it either
        warn_once(LOST_PARTS)
    return x


def corner_of(whole: Tensor, part: Tensor) -> Grid | None:
    """Where a part (channels, height, width) begins in the whole picture; None where it is not there, or more than
    once."""
    whole, part = whole.flatten(0, -3), part.to(whole).flatten(0, -3)  # Anima's pictures have an axis for time too
    height, width = grid_of(whole)
    bottom, right = part.shape[-2] - 1, part.shape[-1] - 1
    turned = whole.roll((-bottom, -right), (-2, -1))
    same_ends = (whole == part[:, :1, :1]) & (turned == part[:, -1:, -1:])
    candidates = same_ends.all(0).nonzero().tolist()
    if len(candidates) > _MAX_CANDIDATES or bottom >= height or right >= width:
        return None
    corners = [(y, x) for y, x in candidates if _is_at(whole, (y, x), part)]
    return corners[0] if len(corners) == 1 else None


def _is_at(whole: Tensor, corner: Grid, part: Tensor) -> bool:
    return torch.equal(crop(whole, corner, grid_of(part)), part)
