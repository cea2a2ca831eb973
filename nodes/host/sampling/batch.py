"""In which order do the rows of a model call's batch stand, and where in the picture do they lie?

What the host says: the list and cond of each chunk, how many pictures the latent batch holds, and the frames of a
context window. Where a pack took a batch apart, texts tell the side of a row. Where nothing tells whose rows they are,
there is no Batch, image prompts leave the call as it is, and the log says so once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..warn import warn_once
from . import cond_sides, crops
from .cond_sides import CondsByName, Sides
from .crops import Area, Crops

_FRAMES = 0  # the dimension of a latent batch along which its frames lie

_UNKNOWN_ROWS = (
    "IP-Adapter: another pack calls the model on a part of a batch and does not say which; image prompts leave "
    "those calls as they are."
)


class RowOrder(NamedTuple):
    """How the rows of a batch stand: part by part of the picture, in a part chunk by chunk, in a chunk frame by frame.

    parts: how many parts of the picture, such as tiles, the batch holds.
    sides: the side of each chunk; a chunk is the rows of one cond.
    frames: for each row of a chunk, the number of its picture in the latent batch.
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


class StepScene(NamedTuple):
    """What a run knows at a step, by which a batch is read.

    pictures: how many the latent batch holds.
    conds: those of the guider, by their names.
    framed: whether the prompts say different things to different frames.
    picture: the whole noisy picture (pictures, channels, height, width); None where no prompt is masked.
    """

    pictures: int
    conds: CondsByName
    framed: bool
    picture: Tensor | None


class Contents(NamedTuple):
    """All that keys and values of a batch depend on.

    groups: the side of each group of rows.
    frames: those of a group; empty where they make no difference.
    device: where the model computes.
    dtype: in what it computes.
    timestep: how noisy the picture is, 0..1000; None where that makes no difference.
    base: the BaseModel that is called, where the timestep makes a difference.
    """

    groups: Sides
    frames: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype
    timestep: float | None = None
    base: Any = None


class Batch(NamedTuple):
    """The batch of a model call, as far as image prompts depend on it.

    order: whose rows it holds.
    crops: where in the picture they lie.
    device: where the model computes.
    dtype: in what it computes.
    base: the BaseModel that is called.
    """

    order: RowOrder
    crops: Crops
    device: torch.device
    dtype: torch.dtype
    base: Any = None

    @staticmethod
    def of(
        scene: StepScene, options: Mapping[str, Any], x: Tensor, dtype: torch.dtype, texts: Tensor | None = None
    ) -> Batch | None:
        """The batch of a model call on x (rows, channels, height, width); None where nobody knows whose rows it holds.

        texts: the text of each row (rows, tokens, width), which tells its side where a pack took a batch apart.
        """
        order = _order(scene, options, len(x), texts)
        if order is None:
            warn_once(_UNKNOWN_ROWS)
            return None
        whole = None if scene.picture is None else scene.picture[min(order.frames[0], len(scene.picture) - 1)]
        areas = [] if whole is None else _areas(scene.conds, options) * order.parts
        areas = areas if len(areas) == len(order.groups) else []
        return Batch(order, crops.of_parts(x, order.firsts, whole, areas), x.device, dtype)

    def contents(self, framed: bool, timestep: float | None = None) -> Contents:
        """What its keys and values depend on; framed: whether frames make a difference; timestep as in Contents."""
        frames, base = self.order.frames if framed else (), None if timestep is None else self.base
        return Contents(self.order.groups, frames, self.device, self.dtype, timestep, base)


def _order(scene: StepScene, options: Mapping[str, Any], rows: int, texts: Tensor | None) -> RowOrder | None:
    """How this number of rows stands: each chunk has the frames of the latent batch or of a window, once or several
    times; None where nobody knows."""
    sides = cond_sides.of_chunks(options, scene.conds)
    each, rest = divmod(rows, len(sides))
    frames = _window(options) or tuple(range(scene.pictures))
    if not rest and each % len(frames) == 0:
        return RowOrder(each // len(frames), sides, frames)
    by_text = cond_sides.by_text(texts, scene.conds)
    by_chunk = None if rest else RowOrder(1, sides, tuple(range(each)))
    if by_text is None or (by_chunk and by_text == tuple(side for side in sides for _ in range(each))):
        return by_chunk
    return None if scene.framed else RowOrder(1, by_text, (0,))


def _areas(conds: CondsByName, options: Mapping[str, Any]) -> list[Area | None]:
    """For each chunk of a batch the part of the picture that the host cut out for its cond."""
    areas = {cond.get("uuid"): cond.get("area") for named in conds.values() for cond in named or ()}
    return [areas.get(uuid) for uuid in options.get("uuids", ())]


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
