"""Which grid a mask belongs to: the whole picture of a step, and where in it lie the parts a model is called on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ....ip_adapter_core.settings.masks import Grid, crop

Area = tuple[int, int, int, int]
"""Height, width, and the corner of a part of a picture."""

_MOST = 64  # places that look alike, with more of which a part is not searched for


class Crops(NamedTuple):
    """Where each group of rows lies: the corner of its part (height and width in grid) in a whole picture.

    Where parts were not to be found, each stands for the whole picture.
    """

    whole: Grid
    grid: Grid
    corners: tuple[Grid, ...]

    @staticmethod
    def everywhere(grid: Grid, groups: int) -> Crops:
        """All of the picture, for each of so many groups."""
        return Crops(grid, grid, ((0, 0),) * groups)


def of_parts(x: Tensor, firsts: Sequence[int], whole: Tensor | None, areas: Sequence[Area | None] = ()) -> Crops:
    """Where the parts of a batch x (rows, channels, height, width) lie in a whole noisy picture.

    firsts: the first row of each group; whole (channels, height, width), None where nobody showed one; areas: of the
    cond of each group, height and width and corner, which the host cuts out. Other parts, of context windows over the
    picture and of samplers in tiles, are of the same noisy picture, and none says where they are from; but numbers of
    noise do not repeat.
    """
    grid = grid_of(x)
    if whole is None or grid_of(whole) == grid:
        return Crops.everywhere(grid, len(firsts))
    known = [area[2:] if area is not None and area[:2] == grid else None for area in areas] or [None] * len(firsts)
    found = [corner or corner_of(whole, x[row]) for row, corner in zip(firsts, known, strict=True)]
    corners = tuple(place for place in found if place is not None)
    if len(corners) < len(found):
        tell_of_parts()
        return Crops.everywhere(grid, len(firsts))
    return Crops(grid_of(whole), grid, corners)


def grid_of(x: Tensor) -> Grid:
    """Height and width of latent pictures."""
    return x.shape[-2], x.shape[-1]


def whole_of(x: Tensor, last: Tensor | None, run: Grid) -> Tensor:
    """The whole picture of a step, of what a guider is given (pictures, channels, height, width): that itself, at
    whatever size, or the last one, if it is a crop of that.

    last: the last whole picture; run: height and width of the run. Says it where nobody can know which it is.
    """
    height, width = grid_of(x)
    if (height, width) == run or height > run[0] or width > run[1]:
        return x
    if last is not None and corner_of(last[0], x[0]) is not None:
        return last
    if last is None or not torch.equal(x[0, :, 0, 0], last[0, :, 0, 0]):  # not every second cell of it either
        tell_of_parts()
    return x


def corner_of(whole: Tensor, part: Tensor) -> Grid | None:
    """Where a part (channels, height, width) begins in the whole picture; None where it is not there, or more than
    once."""
    part = part.to(whole)
    height, width = grid_of(whole)
    bottom, right = part.shape[-2] - 1, part.shape[-1] - 1
    turned = whole.roll((-bottom, -right), (-2, -1))
    alike = (whole == part[:, :1, :1]) & (turned == part[:, -1:, -1:])
    places = alike.all(0).nonzero().tolist()
    if len(places) > _MOST or bottom >= height or right >= width:
        return None
    same = [(y, x) for y, x in places if _is_at(whole, (y, x), part)]
    return same[0] if len(same) == 1 else None


def _is_at(whole: Tensor, corner: Grid, part: Tensor) -> bool:
    return torch.equal(crop(whole, corner, grid_of(part)), part)


@lru_cache(maxsize=1)
def tell_of_parts() -> None:
    """Say it where parts are not to be found."""
    logging.warning(
        "IP-Adapter: this sampler gives the model parts of a picture that are not to be found in it; "
        "masks of image prompts act in each part as if it were the whole picture."
    )


@lru_cache(maxsize=1)
def tell_of_runs() -> None:
    """Say it where one node samples several times."""
    logging.warning(
        "IP-Adapter: this node samples more than once. Where it samples parts of a picture by themselves (upscaling in "
        "tiles, detailing of faces), nothing tells where they lie, and masks of image prompts act in each part as if "
        "it were the whole picture: give that node a model with prompts without masks, or masks made for the part."
    )
