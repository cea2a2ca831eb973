"""Which grid a mask belongs to: the whole picture of a step, and where in it lie the parts a model is called on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ...ip_adapter_core.masks import Grid

_STRETCHED = 1.3  # a picture of the run whose sides are in a proportion that differs by more is a part of it


class Places(NamedTuple):
    """Where each group of rows lies: the corner of its part (height and width in grid) in a whole picture.

    Where parts were not to be found, each stands for the whole picture.
    """

    whole: Grid
    grid: Grid
    corners: tuple[Grid, ...]

    @staticmethod
    def everywhere(grid: Grid, groups: int) -> Places:
        """All of the picture, for each of so many groups."""
        return Places(grid, grid, ((0, 0),) * groups)


def of_parts(x: Tensor, firsts: Sequence[int], whole: Tensor | None) -> Places:
    """Where the parts of a batch x (rows, channels, height, width) lie in a whole noisy picture.

    firsts: the first row of each group; whole (channels, height, width), None where nobody showed one. Areas of conds,
    context windows over the picture and samplers in tiles all hand on parts of the same noisy picture, and none says
    where they are from; but numbers of noise do not repeat.
    """
    grid = grid_of(x)
    if whole is None or grid_of(whole) == grid:
        return Places.everywhere(grid, len(firsts))
    found = [_corner(whole, x[row]) for row in firsts]
    corners = tuple(place for place in found if place is not None)
    if len(corners) < len(found):
        _tell_of_parts()
        return Places.everywhere(grid, len(firsts))
    return Places(grid_of(whole), grid, corners)


def grid_of(x: Tensor) -> Grid:
    """Height and width of latent pictures."""
    return x.shape[-2], x.shape[-1]


def check_whole(x: Tensor, run: Grid) -> None:
    """Say it where what a guider is given cannot be the picture of its run (height and width) at another size."""
    height, width = grid_of(x)
    proportion = (height * run[1]) / (width * run[0])
    if not 1 / _STRETCHED < proportion < _STRETCHED:
        _tell_of_parts()


def _corner(whole: Tensor, part: Tensor) -> Grid | None:
    """Where a part (channels, height, width) begins in the whole picture, or None."""
    same = (whole == part[:, :1, :1].to(whole)).all(0).nonzero().tolist()
    height, width = whole.shape[-2:]
    bottom, right = part.shape[-2] - 1, part.shape[-1] - 1
    for y, x in same:
        if torch.equal(whole[:, (y + bottom) % height, (x + right) % width], part[:, -1, -1].to(whole)):
            return y, x
    return None


@lru_cache(maxsize=1)
def _tell_of_parts() -> None:
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
