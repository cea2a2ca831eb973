"""The batch of a model call: whose rows it holds, which frames they are, and which part of the picture."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ...ip_adapter_core.masks import Grid

if TYPE_CHECKING:
    from .run import Run

_FRAMES = 0  # the dimension of a latent batch along which its frames lie


class Batch(NamedTuple):
    """What prepared tensors must suit.

    rows: how many; sides: of each group of rows; frames: the picture of the latent batch that each row of a group is,
    empty where that makes no difference; grid: height and width of the latent pictures in it; places: the corner of
    each group in the whole picture; found: whether these parts were found there, else they stand for all of it.
    """

    rows: int
    sides: tuple[int, ...]
    frames: tuple[int, ...]
    grid: Grid
    places: tuple[Grid, ...]
    found: bool
    device: torch.device
    dtype: torch.dtype

    @staticmethod
    def of(run: Run, options: Mapping[str, Any], x: Tensor, dtype: torch.dtype) -> Batch:
        """The batch of a model call on x (rows, channels, height, width) within a run."""
        sides = run.sides(options)
        frames = _frames(options, run.pictures, len(x) // len(sides))
        # Tiles stand behind each other in one batch: all chunks of the first, then all of the second, and so on.
        tiles = len(x) // (len(sides) * len(frames))
        groups = sides * tiles
        grid = (x.shape[-2], x.shape[-1])
        places = _places(run, x, frames, len(groups)) if run.masked else ((0, 0),) * len(groups)
        if places is None:
            _tell_once()
        corners = places or ((0, 0),) * len(groups)
        return Batch(len(x), groups, frames if run.framed else (), grid, corners, places is not None, x.device, dtype)


def _frames(options: Mapping[str, Any], pictures: int, rows: int) -> tuple[int, ...]:
    """Which pictures of the latent batch the rows of a chunk are; rows: as many, or a multiple of that for tiles."""
    window = _window(options)
    frames = tuple(range(pictures)) if window is None else window
    return frames if frames and rows % len(frames) == 0 else tuple(range(rows))


def _window(options: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The frames of a context window: AnimateDiff-Evolved's, or core's own along the batch."""
    evolved = (options.get("ad_params") or {}).get("sub_idxs")
    if evolved is not None:
        return tuple(map(int, evolved))
    window = options.get("context_window")
    if window is None or getattr(window, "dim", None) != _FRAMES:
        return None
    anchor = getattr(window, "causal_anchor_index", None)  # a frame before the window, from 0.30 on
    return (*(() if anchor is None or anchor < 0 else (anchor,)), *window.index_list)


def _places(run: Run, x: Tensor, frames: Sequence[int], groups: int) -> tuple[Grid, ...] | None:
    """Where in the whole picture each group of rows lies; None where one is not to be found there.

    Areas of conds, context windows over the picture and samplers in tiles all hand on parts of the same noisy picture,
    and none says where they are from; but numbers of noise do not repeat.
    """
    if (x.shape[-2], x.shape[-1]) == run.grid:
        return ((0, 0),) * groups
    if run.whole is None:
        return None
    rows = len(x) // groups
    whole = run.whole[min(frames[0], len(run.whole) - 1)]
    found = [_corner(whole, x[group * rows]) for group in range(groups)]
    known = tuple(place for place in found if place is not None)
    return known if len(known) == groups else None


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
def _tell_once() -> None:
    logging.warning(
        "This sampler gives the model parts of a picture that are not to be found in it; "
        "masks of image prompts act in each part as if it were the whole picture."
    )
