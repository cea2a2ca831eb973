"""Fast image attention for few tokens: all image prompts of a layer in one grouped product.

Scores of all prompts at once, a softmax within each prompt's own tokens, and one product that adds to the text's result
in place: for few tokens cheaper than an attention for each prompt, whose kernels are made for long sequences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from .adapter import KeysValues
from .masks import Grid, for_layer

MOST_TOKENS = 32  # of a prompt: with more, an attention for each is as fast
MOST_IN_ALL = 256  # tokens of a stack: its scores have one number for each, head and pixel


class Image(NamedTuple):
    """What a layer attends to beside the text: λ·(K', V') (rows, tokens, inner), the logarithm of how often a token
    counts (tokens,), and where it acts, (rows, pixels, 1) by the layer's grid."""

    image: KeysValues
    emphasis: Tensor | None = None
    masks: dict[Grid, Tensor] | None = None


class Stack(NamedTuple):
    """Several images of a layer as one: keys and values (blocks, tokens, inner), the tokens of each of so many groups
    side by side.

    Each block is read by its part of the batch. bias (rows, tokens) is added to the scores: where all rows are in one
    block, -inf hides the tokens of the others; spread is the same for each query of the batch (1, tokens, queries), by
    how many there are. masks (rows, pixels, groups) by grid.
    """

    keys: Tensor
    values: Tensor
    groups: int
    bias: Tensor | None = None
    spread: dict[int, Tensor] | None = None
    masks: dict[Grid, Tensor] | None = None


def mask_for(image: Image, grid: Grid) -> Tensor | None:
    """Where an image acts in a layer of this grid, (rows, pixels, 1); None is everywhere."""
    if image.masks is None:
        return None
    mask = image.masks.get(grid)
    if mask is None:  # a patch that shrinks activations, such as core's deep shrink
        finest = next(iter(image.masks))
        mask = for_layer(image.masks[finest].reshape(-1, *finest), grid)
    return mask


def stacked(images: Sequence[Image], rows: int, joint: Sequence[int] = ()) -> tuple[Image | Stack, ...]:
    """The images of a layer with those that can be in stacks, as many tokens in each of a stack.

    rows: of the batch that have keys of their own. joint: put all rows into one product, for devices where starting a
    product costs more than computing it; numbers of queries that a batch may have, to be prepared for.
    """
    fitting = [image for image in images if _fits(image, rows)]
    counts = dict.fromkeys(image.image.keys.shape[1] for image in fitting)
    stacks = [_stack([i for i in fitting if i.image.keys.shape[1] == n], rows, joint) for n in counts]
    kept = [image for image in images if not any(image is one for one in fitting)]
    return (*kept, *stacks)


def add_stack_(attended: Tensor, q: Tensor, stack: Stack, heads: int, grid: Grid | None = None) -> Tensor:
    """Add the attention to a stack to a text attention's result (batch, pixels, inner), in place.

    q (batch, pixels, inner); grid: height and width of the layer, where the stack has masks.
    """
    blocks = len(stack.keys)
    queries, sums = (rearrange(x, "(r b) p (h d) -> r h (b p) d", r=blocks, h=heads) for x in (q, attended))
    keys, values = (rearrange(x, "r t (h d) -> r h t d", h=heads) for x in (stack.keys, stack.values))
    masks = None if stack.masks is None or grid is None else _spread_masks(stack, blocks, len(q), grid)
    scale = 1 / math.sqrt(queries.shape[-1])
    for block in range(blocks):
        bias, beta = _bias(stack, block, blocks, queries[block])
        # Tokens by pixels: a softmax over few neighbouring numbers is many times slower on the CPU than over rows.
        scores = torch.baddbmm(bias, keys[block], queries[block].mT, beta=beta, alpha=scale)
        shares = scores.unflatten(1, (stack.groups, -1)).softmax(dim=2)
        if masks is not None:
            shares = shares * masks[block]
        sums[block].baddbmm_(shares.flatten(1, 2).mT, values[block])
    return attended


def _fits(image: Image, rows: int) -> bool:
    """Few tokens, for the same rows as all others."""
    found, tokens, _ = image.image.keys.shape
    masks = {len(mask) for mask in (image.masks or {}).values()}
    return found == rows and tokens <= MOST_TOKENS and rows * tokens <= MOST_IN_ALL and masks <= {1, rows}


def _stack(images: Sequence[Image], rows: int, joint: Sequence[int]) -> Stack:
    one_block = bool(joint) and rows > 1
    form = "a r t c -> 1 (a r t) c" if one_block else "a r t c -> r (a t) c"
    keys, values = (rearrange([image.image[part] for image in images], form).contiguous() for part in (0, 1))
    bias = _biases(images, rows, one_block)
    spread = {queries: _for_queries(bias, queries) for queries in joint} if one_block and bias is not None else None
    return Stack(keys, values, len(images), bias, spread, _masks(images, rows))


def _biases(images: Sequence[Image], rows: int, one_block: bool) -> Tensor | None:
    """What is added to the scores of each row, (rows, tokens of the stack)."""
    like = images[0].image.keys
    if not one_block and all(image.emphasis is None for image in images):
        return None
    none = like.new_zeros(like.shape[1])
    own = torch.stack([none if image.emphasis is None else image.emphasis.to(like) for image in images])
    if not one_block:
        return own.flatten().expand(rows, -1)
    seen = torch.eye(rows, device=like.device, dtype=torch.bool)[:, None, :, None]  # row, group, row of keys, token
    return torch.where(seen, own[None, :, None], -torch.inf).flatten(1).to(like)


def _masks(images: Sequence[Image], rows: int) -> dict[Grid, Tensor] | None:
    """Where each group acts, (rows, pixels, groups) by grid; None where all act everywhere."""
    grids = next((image.masks for image in images if image.masks), None)
    if grids is None:
        return None
    found = {}
    for grid, like in grids.items():
        everywhere = torch.ones_like(like[:1])
        parts = [(image.masks or {}).get(grid, everywhere).expand(rows, -1, -1) for image in images]
        found[grid] = torch.cat(parts, dim=-1)
    return found


def _spread_masks(stack: Stack, blocks: int, batch: int, grid: Grid) -> Tensor:
    """Masks for the queries of each block, (blocks, groups, 1, pixels)."""
    known = stack.masks or {}
    mask = known.get(grid)
    if mask is None:  # a patch that shrinks activations, such as core's deep shrink
        finest = next(iter(known))
        layers = rearrange(known[finest], "r (h w) g -> (r g) h w", h=finest[0])
        mask = rearrange(for_layer(layers, grid), "(r g) p 1 -> r p g", g=stack.groups)
    repeated = mask[:, None].expand(-1, batch // len(mask), -1, -1)
    return rearrange(repeated, "(k r) b p g -> k g 1 (r b p)", k=blocks)


def _bias(stack: Stack, block: int, blocks: int, queries: Tensor) -> tuple[Tensor, float]:
    """What the scores of a block begin with, and how much of it counts."""
    if stack.bias is None:
        return queries.new_empty(1, 1, 1), 0.0
    if blocks == len(stack.bias):
        return stack.bias[block][None, :, None], 1.0
    count = queries.shape[1]
    known = (stack.spread or {}).get(count)
    return (_for_queries(stack.bias, count) if known is None else known), 1.0


def _for_queries(bias: Tensor, queries: int) -> Tensor:
    """A bias of each row (rows, tokens) for each of so many queries, (1, tokens, queries)."""
    return rearrange(bias[:, None].expand(-1, queries // len(bias), -1), "r p t -> 1 t (r p)")
