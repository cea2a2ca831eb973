"""The batch of a model call: in which order its rows stand, and where in the picture they lie."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from . import crops
from .cond_sides import Sides
from .crops import Places

if TYPE_CHECKING:
    from .run import Run

_FRAMES = 0  # the dimension of a latent batch along which its frames lie


class Order(NamedTuple):
    """How the rows of a batch stand: part by part of the picture, in a part chunk by chunk, in a chunk frame by frame.

    parts: how many lie side by side in one batch, as tiles do; sides: of each chunk, which is of one cond; frames: the
    picture of the latent batch that each row of a chunk is.
    """

    parts: int
    sides: Sides
    frames: tuple[int, ...]

    @property
    def groups(self) -> Sides:
        """The side of each group of rows that are the same part and chunk."""
        return self.sides * self.parts

    @property
    def firsts(self) -> range:
        """The first row of each group."""
        return range(0, self.rows, len(self.frames))

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.parts * len(self.sides) * len(self.frames)


class Contents(NamedTuple):
    """All that keys and values of a batch depend on; frames are left out where they make no difference."""

    groups: Sides
    frames: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype


class Batch(NamedTuple):
    """The batch of a model call, as far as image prompts depend on it."""

    order: Order
    crops: Places
    device: torch.device
    dtype: torch.dtype

    @staticmethod
    def of(
        run: Run, options: Mapping[str, Any], x: Tensor, dtype: torch.dtype, texts: Tensor | None = None
    ) -> Batch | None:
        """The batch of a model call on x (rows, channels, height, width) within a run, None where nobody can know whose
        rows it holds; texts (rows, tokens, width): what tells that where a pack took a batch apart."""
        order = _order(run, options, len(x), texts)
        if order is None:
            _tell_once()
            return None
        whole = run.shown(order.frames[0]) if run.masked else None
        areas = [] if whole is None else run.areas(options) * order.parts
        areas = areas if len(areas) == len(order.groups) else []
        return Batch(order, crops.of_parts(x, order.firsts, whole, areas), x.device, dtype)

    def contents(self, framed: bool) -> Contents:
        """What its keys and values depend on; framed: whether frames make a difference."""
        return Contents(self.order.groups, self.order.frames if framed else (), self.device, self.dtype)


def _order(run: Run, options: Mapping[str, Any], rows: int, texts: Tensor | None) -> Order | None:
    """How so many rows stand: as many frames in each chunk as the latent batch or a window has, or that many times."""
    sides = run.sides(options)
    each, rest = divmod(rows, len(sides))
    frames = _window(options) or tuple(range(run.pictures))
    if not rest and each % len(frames) == 0:
        return Order(each // len(frames), sides, frames)
    told = run.sides_of(texts)
    by_chunk = None if rest else Order(1, sides, tuple(range(each)))
    if told is None or (by_chunk and told == tuple(side for side in sides for _ in range(each))):
        return by_chunk
    return None if run.framed else Order(1, told, (0,))


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


@lru_cache(maxsize=1)
def _tell_once() -> None:
    logging.warning(
        "IP-Adapter: another pack calls the model on a part of a batch and does not say which; image prompts leave "
        "those calls as they are."
    )
