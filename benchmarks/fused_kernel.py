"""The Triton kernel of fused attention: what it is given, and what runs on the device.

Triton is imported when the kernel is first asked for, and reads these functions as source; `here` is a row of the batch
and a head.
"""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    import triton.language as tl


class Rows(NamedTuple):
    """A tensor (rows, length, inner) as the kernel sees it: where it starts, how many elements lie from row to row and
    from step to step, how long it is, and how many neighbouring rows of the batch share one of its own."""

    start: Tensor
    row: int
    step: int
    length: int
    shared: int


class Group(NamedTuple):
    """An image group as the kernel sees it. (`values` is a name that Triton's tuples have taken.)"""

    k: Rows
    v: Rows
    attn_bias: Tensor | None
    mask: Rows | None


class Plan(NamedTuple):
    """What a kernel is compiled for.

    width: of a head; padded: the power of two that holds it. pixels: per program. text: tokens at a time, and turns:
    how often. tiles: tokens of each image group, padded. wide: whether products are of fp32.
    """

    width: int
    padded: int
    scale: float
    pixels: int
    text: int
    turns: int
    tiles: tuple[int, ...]
    wide: bool


def _attend(z: Rows, layer: tl.tuple, groups: tl.tuple, plan: tl.constexpr) -> None:
    q, k, v = layer
    here = (tl.program_id(2), tl.program_id(0))
    pixel = tl.program_id(1) * plan.pixels + tl.arange(0, plan.pixels)
    queries = _load(q, here, pixel, plan)
    found = _text(queries, (k, v), here, plan)
    for number in tl.static_range(len(plan.tiles)):
        token = tl.arange(0, plan.tiles[number])
        shares = _shares_of(queries, groups[number], here, token, plan)
        if groups[number].mask is not None:
            shares *= _mask(groups[number].mask, here, pixel)[:, None]
        values = _load(groups[number].v, here, token, plan).to(queries.dtype)
        found += _product(shares.to(queries.dtype), values, plan)
    at, there = _places(z, here, pixel, plan)
    tl.store(at, found.to(queries.dtype), mask=there)


def _text(queries: tl.tensor, text: tl.tuple, here: tl.tuple, plan: tl.constexpr) -> tl.tensor:
    """Softmax over the text, some tokens at a time: sums so far shrink when a higher score turns up."""
    k, v = text
    highest = tl.full([plan.pixels], float("-inf"), tl.float32)
    total = tl.full([plan.pixels], 0.0, tl.float32)
    found = tl.full([plan.pixels, plan.padded], 0.0, tl.float32)
    for turn in range(plan.turns):
        token = turn * plan.text + tl.arange(0, plan.text)
        scores = _scores(queries, k, here, token, plan)
        higher = tl.maximum(highest, tl.max(scores, 1))
        shares = tl.exp(scores - higher[:, None])
        shrunk = tl.exp(highest - higher)
        total = total * shrunk + tl.sum(shares, 1)
        found = found * shrunk[:, None] + _product(shares.to(queries.dtype), _load(v, here, token, plan), plan)
        highest = higher
    return found / total[:, None]


def _shares_of(queries: tl.tensor, group: Group, here: tl.tuple, token: tl.tensor, plan: tl.constexpr) -> tl.tensor:
    """Softmax over one image group, whose tokens are all there at once."""
    scores = _scores(queries, group.k, here, token, plan)
    if group.attn_bias is not None:
        scores += tl.load(group.attn_bias + token, mask=token < group.k.length, other=0.0).to(tl.float32)[None, :]
    shares = tl.exp(scores - tl.max(scores, 1)[:, None])
    return shares / tl.sum(shares, 1)[:, None]


def _scores(queries: tl.tensor, k: Rows, here: tl.tuple, token: tl.tensor, plan: tl.constexpr) -> tl.tensor:
    keys = _load(k, here, token, plan).to(queries.dtype)
    scores = _product(queries, tl.trans(keys), plan) * plan.scale
    return tl.where((token < k.length)[None, :], scores, float("-inf"))


def _product(a: tl.tensor, b: tl.tensor, plan: tl.constexpr) -> tl.tensor:
    if plan.wide:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision="tf32x3")  # fp32 on tensor cores in three parts; nothing to halves


def _mask(mask: Rows, here: tl.tuple, pixel: tl.tensor) -> tl.tensor:
    row, _ = here
    at = mask.start + (row // mask.shared).to(tl.int64) * mask.row + pixel * mask.step
    return tl.load(at, mask=pixel < mask.length, other=0.0).to(tl.float32)


def _load(x: Rows, here: tl.tuple, index: tl.tensor, plan: tl.constexpr) -> tl.tensor:
    at, there = _places(x, here, index, plan)
    return tl.load(at, mask=there, other=0.0)


def _places(x: Rows, here: tl.tuple, index: tl.tensor, plan: tl.constexpr) -> tl.tuple:
    """Where a head's channels of some pixels or tokens lie, and which of them there are: (index, padded) each."""
    row, head = here
    channel = tl.arange(0, plan.padded)
    start = x.start + (row // x.shared).to(tl.int64) * x.row + head * plan.width
    there = (index < x.length)[:, None] & (channel < plan.width)[None, :]
    return start + index[:, None] * x.step + channel[None, :], there


_ON_DEVICE = (_attend, _text, _shares_of, _scores, _product, _mask, _load, _places)


@lru_cache(maxsize=1)
def kernel() -> Any:
    # Triton looks names up in the globals of a function's module: there these must be its own.
    triton = importlib.import_module("triton")
    globals().update({function.__name__: triton.jit(function) for function in _ON_DEVICE}, tl=triton.language)
    return globals()[_attend.__name__]
