"""Fast image attention for few tokens: the image prompts of a layer as one product.

Scores of all prompts at once, a softmax within each prompt's own tokens, and a product that adds to the text's result
in place: for few tokens cheaper than an attention for each prompt, whose kernels are made for long sequences. On a
processor it is the arithmetic that costs; on other devices, starting kernels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from .adapter import KeysValues
from .attention import by_head
from .masks import Grid, for_layer

MOST_TOKENS = 32  # of a prompt: with more, an attention for each is as fast
MOST_WIDE, MOST_HEADS = 256, 10  # tokens times heads of a wide stack; and its heads, as it is so many times as large
MOST_JOINT = 256  # tokens of all rows of an image in a joint stack, where the queries of each row meet all of them


MasksByGrid = dict[Grid, Tensor]
"""Where something acts, (rows, pixels, groups) by the grid of a layer; the finest one first."""


class Image(NamedTuple):
    """What a layer attends to beside the text: λ·(K', V') (rows, tokens, inner), the logarithm of how often a token
    counts (tokens,), and where it acts, in one group. owners: the number of whom it is from."""

    image: KeysValues
    emphasis: Tensor | None = None
    masks: MasksByGrid | None = None
    owners: tuple[int, ...] = ()


class Form(NamedTuple):
    """What is in one product beside all images: the rows of the batch (joint), or these and all heads (wide)."""

    joint: bool = False
    wide: bool = False


class Stack(NamedTuple):
    """Several images of a layer as one, the tokens of each of so many groups side by side.

    keys, the scale of scores already in them, and values: (rows, tokens, inner), each row for its part of the batch;
    where wide, each head has tokens of its own, zero for the others: (rows, heads · tokens, inner). emphasis: of the
    tokens in a product. owners: a number for each group, of whom it is from.
    """

    keys: Tensor
    values: Tensor
    groups: int
    emphasis: Tensor | None = None
    masks: MasksByGrid | None = None
    form: Form = Form()
    owners: tuple[int, ...] = ()


def mask_for(image: Image, grid: Grid) -> Tensor | None:
    """Where an image acts in a layer of this grid, (rows, pixels, 1); None is everywhere."""
    return None if image.masks is None else _for_grid(image.masks, grid)


def stacked(images: Sequence[Image], heads: int, costly_starts: bool = False) -> tuple[Image | Stack, ...]:
    """The images of a layer, those with as many rows and as few tokens in a stack.

    costly_starts: whether starting a kernel costs more than computing it, so that one image stands by itself (an
    attention and a sum), and several are in one product for all rows.
    """
    alike: dict[torch.Size, list[Image]] = {}
    for image in images:
        alike.setdefault(image.image.keys.shape, []).append(image)
    found: list[Image | Stack] = []
    for shape, group in alike.items():
        form = _form(shape, len(group), heads, costly_starts)
        found += group if form is None else [_stack(group, heads, form)]
    return tuple(found)


def add_stack_(attended: Tensor, q: Tensor, stack: Stack, heads: int, grid: Grid | None = None) -> Tensor:
    """Add the attention to a stack to a text attention's result (batch, pixels, inner), contiguous, in place.

    q (batch, pixels, inner); grid: height and width of the layer, where the stack has masks.
    """
    mask = None if stack.masks is None or grid is None else _repeated(_for_grid(stack.masks, grid), len(q))
    if stack.form.wide:
        _add_wide_(attended, q, stack, heads, mask)
        return attended
    sums, values = (by_head(x, len(stack.keys), heads) for x in (attended, stack.values))
    for row, shares in enumerate(_shares(q, stack, heads, mask)):
        sums[row].baddbmm_(shares.mT, values[row])
    return attended


def _shares(q: Tensor, stack: Stack, heads: int, mask: Tensor | None) -> Iterator[Tensor]:
    """How much each pixel takes of each token, for one row after another, (heads, tokens, pixels of the row).

    Tokens by pixels: a softmax over few neighbouring numbers is many times slower on a processor than over rows.
    """
    products = 1 if stack.form.joint else len(stack.keys)
    each = len(stack.keys) // products
    queries, keys = (by_head(x, products, heads) for x in (q, stack.keys))
    masks = None if mask is None else mask.reshape(products, -1, stack.groups).mT[:, :, None]
    for number in range(products):
        scores = _scores(keys[number], queries[number], None if stack.emphasis is None else stack.emphasis[:, None])
        tokens = scores.shape[1] // (each * stack.groups)
        shares = scores.view(heads, each, stack.groups, tokens, -1).softmax(3)
        if masks is not None:
            shares = shares * masks[number]
        # In a joint product all keys met all queries; what a row's queries take of its own keys is of use.
        met = shares.view(heads, each, stack.groups * tokens, each, -1)
        yield from (met[:, row, :, row] for row in range(each))


def _add_wide_(attended: Tensor, q: Tensor, stack: Stack, heads: int, mask: Tensor | None) -> None:
    """All heads and rows in one product."""
    rows, columns, inner = stack.keys.shape
    queries, sums = (x.reshape(rows, -1, inner) for x in (q, attended))
    scores = _scores(queries, stack.keys, stack.emphasis)
    shares = scores.view(rows, -1, heads, stack.groups, columns // (heads * stack.groups)).softmax(4)
    if mask is not None:
        shares = shares * mask.reshape(rows, -1, 1, stack.groups, 1)
    sums.baddbmm_(shares.view(scores.shape), stack.values)


def _scores(these: Tensor, those: Tensor, emphasis: Tensor | None) -> Tensor:
    return torch.bmm(these, those.mT) if emphasis is None else torch.baddbmm(emphasis, these, those.mT)


def _form(shape: torch.Size, images: int, heads: int, costly_starts: bool) -> Form | None:
    """How so many images of a shape (rows, tokens, inner) are stacked; None where each is faster by itself."""
    rows, tokens, _ = shape
    if tokens > MOST_TOKENS or (costly_starts and images == 1):
        return None
    if not costly_starts:
        return Form()
    if heads <= MOST_HEADS and heads * images * tokens <= MOST_WIDE:
        return Form(wide=True)
    return Form(joint=True) if rows * tokens <= MOST_JOINT else None


def _stack(images: Sequence[Image], heads: int, form: Form) -> Stack:
    keys, values = (torch.cat([image.image[part] for image in images], dim=1) for part in (0, 1))
    keys, emphasis = keys * math.sqrt(heads / keys.shape[-1]), _emphasis(images)
    if emphasis is not None:
        emphasis = emphasis.repeat(heads if form.wide else len(keys) if form.joint else 1)
    if form.wide:
        keys, values = (_widened(x, heads) for x in (keys, values))
    owners = tuple(owner for image in images for owner in image.owners)
    return Stack(keys, values, len(images), emphasis, joined([image.masks for image in images]), form, owners)


def _widened(x: Tensor, heads: int) -> Tensor:
    """Tokens (rows, tokens, inner) once for each head, zero for the others, (rows, heads · tokens, inner)."""
    own = torch.eye(heads, dtype=x.dtype, device=x.device)[:, None, :, None]
    return rearrange(own * rearrange(x, "r t (k d) -> r 1 t k d", k=heads), "r h t k d -> r (h t) (k d)")


def _emphasis(images: Sequence[Image]) -> Tensor | None:
    """What is added to the scores of each token; None where it is nothing."""
    if all(image.emphasis is None for image in images):
        return None
    none = images[0].image.keys.new_zeros(images[0].image.keys.shape[1])
    return torch.cat([none if image.emphasis is None else image.emphasis.to(none) for image in images])


def joined(masks: Sequence[MasksByGrid | None]) -> MasksByGrid | None:
    """Where each of several groups acts, side by side; None where all act everywhere."""
    some = next((each for each in masks if each), None)
    if some is None or len(masks) == 1:
        return some
    found = {}
    for grid, like in some.items():
        parts = [each[grid] if each else torch.ones_like(like[:1]) for each in masks]
        rows = max(map(len, parts))
        found[grid] = torch.cat([_repeated(part, rows) for part in parts], dim=-1)
    return found


def _for_grid(masks: MasksByGrid, grid: Grid) -> Tensor:
    """Masks (rows, pixels, groups) for a layer of this grid."""
    if grid in masks:
        return masks[grid]
    finest = next(iter(masks))  # a patch shrinks activations, such as core's deep shrink
    layers = rearrange(masks[finest], "r (h w) g -> (r g) h w", h=finest[0])
    return rearrange(for_layer(layers, grid), "(r g) p 1 -> r p g", r=len(masks[finest]))


def _repeated(mask: Tensor, batch: int) -> Tensor:
    """Masks (rows, pixels, groups) for each of a batch, whose neighbours share a row: (batch, pixels, groups)."""
    return mask[:, None].expand(-1, batch // len(mask), -1, -1).flatten(0, 1)
