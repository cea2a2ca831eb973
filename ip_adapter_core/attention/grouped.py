"""Several image prompts of a layer computed together, so that the queries are read once for all of them.

A form is one way to do this. Prompts are grouped when they have equally many rows and tokens.

    "product"    tokens of all prompts side by side:          K', V' (rows, groups · tokens, inner)
                 two matrix products, with a softmax within the tokens of each prompt between them
    "attention"  rows of all prompts one after the other:     K', V' (groups · rows, tokens, inner)
                 one call of torch's attention on repeated queries, then a sum over the prompts

On a CPU in full precision the product is faster for few tokens, because torch's attention is made for long sequences.
On a GPU the attention is faster, because every kernel launch costs time and it needs the fewest. Scores in half
precision are too coarse for a softmax outside torch's attention, so half precision never uses the product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from ..adapters.keys_values import KeysValues
from ..settings.masks import Grid, for_layer
from .balance import Balance, Balanced
from .balance import join as join_balances
from .joint import Joint
from .projection import METHODS, NEUTRAL
from .reference import image_attention, split_heads

MAX_TOKENS = 32  # tokens of a prompt in a product; with more, one attention for each prompt is as fast
MAX_TOGETHER = 4  # prompts in one attention; its queries and results then need less than a feed-forward layer

MasksByGrid = dict[Grid, Tensor]
"""Masks (rows, pixels, groups) by the grid of a layer, the finest grid first."""


class ImageKV(NamedTuple):
    """One image prompt in a layer.

    kv: K' and V' with λ in them, unless they are joint, (rows, tokens, inner).
    attn_bias: logarithm of how often each token counts under the softmax, (tokens,); None when all count once.
    masks: where it acts, in one group; None is everywhere.
    owners: number of the application that it comes from.
    balance: how it is held against the text; None is not at all.
    joint: how they share a softmax with the picture's own keys and values; None where they have one of their own.
    method: how far what it adds is turned away from the text, a row of METHODS.
    """

    kv: KeysValues
    attn_bias: Tensor | None = None
    masks: MasksByGrid | None = None
    owners: tuple[int, ...] = ()
    balance: Balance | None = None
    joint: Joint | None = None
    method: str = NEUTRAL

    @property
    def turned(self) -> bool:
        """Whether what it adds depends on what the text says."""
        return METHODS[self.method].kept is not None


class GroupedKV(NamedTuple):
    """Several image prompts of a layer as one, each a group with equally many rows and tokens.

    form: a row of FORMS, on which the shapes depend.
    kv: product (rows, groups · tokens, inner), with the scale of the scores in the keys; attention (groups · rows,
        tokens, inner).
    ones: (1, groups); the matrix product with it sums the groups.
    attn_bias: added to the scores; product (groups · tokens, 1), attention (groups · rows, tokens).
    masks: where each group acts; None is everywhere.
    owners: number of the application that each group comes from.
    balance: how their sum is held against the text; None is not at all.
    """

    form: str
    kv: KeysValues
    ones: Tensor
    attn_bias: Tensor | None = None
    masks: MasksByGrid | None = None
    owners: tuple[int, ...] = ()
    balance: Balance | None = None

    @property
    def turned(self) -> bool:
        """Prompts that are turned away from the text stand by themselves."""
        return False

    @property
    def groups(self) -> int:
        """Number of image prompts in it."""
        return self.ones.shape[1]


class Form(NamedTuple):
    """A way to compute several image prompts together: a row of FORMS.

    min_images: least number of prompts in one group.
    max_images: greatest number of prompts in one group.
    accepts: whether prompts with these K' and V' can be computed this way.
    join: prompts and heads -> K' and V' of the group, and its attn_bias.
    add_: adds the attention to a text attention's result (batch, pixels, inner) in place; its arguments are this
        result, q, the group, heads and the masks (batch, pixels, groups).
    """

    min_images: int
    max_images: int
    accepts: Callable[[KeysValues], bool]
    join: Callable[[Sequence[ImageKV], int], tuple[KeysValues, Tensor | None]]
    add_: Callable[[Tensor, Tensor, GroupedKV, int, Tensor | None], None]


def mask_for(image: ImageKV, grid: Grid) -> Tensor | None:
    """The mask of one prompt in a layer of this grid, (rows, pixels, 1); None is everywhere."""
    return None if image.masks is None else _resize_masks(image.masks, grid)


def group_images(images: Sequence[ImageKV], heads: int) -> tuple[ImageKV | GroupedKV, ...]:
    """The image prompts of a layer, grouped by equal shape and balance if their device has a form that accepts them."""
    by_kind: dict[Hashable, list[ImageKV]] = {}
    for image in images:
        held = image.balance and (image.balance.mode, image.balance.place)
        by_kind.setdefault((image.kv.keys.shape, held, image.method), []).append(image)
    return tuple(one for alike in by_kind.values() for one in _group_alike(alike, heads))


def add_grouped_(attended: Tensor, q: Tensor, group: GroupedKV, heads: int, grid: Grid | None = None) -> Tensor:
    """Add the attention to a group in place to a text attention's result (batch, pixels, inner), which is contiguous.

    q: (batch, pixels, inner). grid: height and width of the layer, needed when the group has masks.
    """
    mask = None if group.masks is None or grid is None else _repeat_rows(_resize_masks(group.masks, grid), len(q))
    FORMS[group.form].add_(attended, q, group, heads, mask)
    return attended


def balanced(added: Tensor, image: ImageKV | GroupedKV, balance: Balance, grid: Grid | None = None) -> Balanced:
    """What prompts of this balance add, (batch, pixels, inner), with what it is to be held against.

    grid: height and width of the layer, needed when the prompts have masks.
    """
    limit = _repeat_rows(balance.limit, len(added))
    if image.masks is None or grid is None:
        return Balanced(balance.mode, added, limit.amax(-1, keepdim=True))
    masks = _repeat_rows(_resize_masks(image.masks, grid), len(added))
    return Balanced(balance.mode, added, (limit * masks).abs().amax(-1, keepdim=True), masks[..., :1])


def _group_alike(images: Sequence[ImageKV], heads: int) -> Iterable[ImageKV | GroupedKV]:
    """Image prompts of equal shape, in groups of their device's form."""
    name = FORM_OF.get(images[0].kv.keys.device.type, "")
    form = FORMS.get(name)
    if form is None or images[0].joint or images[0].turned or not form.accepts(images[0].kv):
        return images
    chunks = [images[start : start + form.max_images] for start in range(0, len(images), form.max_images)]
    return [one for each in chunks for one in ([_group(each, heads, name)] if len(each) >= form.min_images else each)]


def _group(images: Sequence[ImageKV], heads: int, form: str) -> GroupedKV:
    kv, attn_bias = FORMS[form].join(images, heads)
    owners = tuple(owner for image in images for owner in image.owners)
    masks = join_masks([image.masks for image in images])
    balance = join_balances([image.balance for image in images])
    return GroupedKV(form, kv, kv.keys.new_ones(1, len(images)), attn_bias, masks, owners, balance)


# The form "product": tokens of all prompts side by side


def _is_short_and_full(kv: KeysValues) -> bool:
    return kv.keys.shape[1] <= MAX_TOKENS and kv.keys.dtype not in (torch.float16, torch.bfloat16)


def _concat_tokens(images: Sequence[ImageKV], heads: int) -> tuple[KeysValues, Tensor | None]:
    keys, values = (torch.cat([image.kv[part] for image in images], dim=1) for part in (0, 1))
    attn_bias = _attn_bias(images)
    scaled = keys * math.sqrt(heads / keys.shape[-1])
    return KeysValues(scaled, values), None if attn_bias is None else attn_bias.reshape(-1, 1)


def _add_product_(attended: Tensor, q: Tensor, group: GroupedKV, heads: int, mask: Tensor | None) -> None:
    """One row of the prompts after the other.

    Scores have the shape (tokens, pixels): on a CPU, a softmax over few neighbouring numbers is many times slower.
    """
    rows, groups = len(group.kv.keys), group.groups
    queries, keys, values, results = (split_heads(x, rows, heads) for x in (q, *group.kv, attended))
    masks = None if mask is None else mask.reshape(rows, -1, groups).mT[:, :, None]
    for row in range(rows):
        scores = _scores(keys[row], queries[row], group.attn_bias)
        probs = scores.view(heads, groups, -1, scores.shape[-1]).softmax(2)
        if masks is not None:
            probs = probs * masks[row]
        results[row].baddbmm_(probs.view(scores.shape).mT, values[row])


def _scores(keys: Tensor, queries: Tensor, attn_bias: Tensor | None) -> Tensor:
    return torch.bmm(keys, queries.mT) if attn_bias is None else torch.baddbmm(attn_bias, keys, queries.mT)


# The form "attention": rows of all prompts one after the other


def _accept_any(kv: KeysValues) -> bool:
    return True


def _stack_rows(images: Sequence[ImageKV], heads: int) -> tuple[KeysValues, Tensor | None]:
    joined = KeysValues(*(torch.cat([image.kv[part] for image in images]) for part in (0, 1)))
    attn_bias, rows = _attn_bias(images), len(images[0].kv.keys)
    return joined, None if attn_bias is None else attn_bias.repeat_interleave(rows, dim=0)


def _add_attention_(attended: Tensor, q: Tensor, group: GroupedKV, heads: int, mask: Tensor | None) -> None:
    added = image_attention(q.repeat(group.groups, 1, 1), group.kv, heads, group.attn_bias)
    added = added.view(group.groups, *q.shape)
    if mask is not None:
        added = added * mask.movedim(-1, 0)[..., None]
    # The sum over groups and the addition to the text's result are one kernel, which rounds once.
    attended.view(1, -1).addmm_(group.ones, added.view(group.groups, -1))


FORMS = {
    "product": Form(1, 1 << 30, _is_short_and_full, _concat_tokens, _add_product_),
    "attention": Form(2, MAX_TOGETHER, _accept_any, _stack_rows, _add_attention_),
}
FORM_OF = {"cpu": "product", "cuda": "attention"}
"""Kind of device -> its form; other devices have none."""


# attn_bias and masks of several prompts


def _attn_bias(images: Sequence[ImageKV]) -> Tensor | None:
    """The biases of all prompts, (groups, tokens), 0 for a prompt without one; None when no prompt has one."""
    if all(image.attn_bias is None for image in images):
        return None
    zeros = images[0].kv.keys.new_zeros(images[0].kv.keys.shape[1])
    return torch.stack([zeros if image.attn_bias is None else image.attn_bias.to(zeros) for image in images])


def join_masks(masks: Sequence[MasksByGrid | None]) -> MasksByGrid | None:
    """The masks of several groups side by side, (rows, pixels, groups) by grid; None when all act everywhere."""
    some = next((each for each in masks if each), None)
    if some is None or len(masks) == 1:
        return some
    joined = {}
    for grid, like in some.items():
        parts = [each[grid] if each else torch.ones_like(like[:1]) for each in masks]
        rows = max(map(len, parts))
        joined[grid] = torch.cat([_repeat_rows(part, rows) for part in parts], dim=-1)
    return joined


def _resize_masks(masks: MasksByGrid, grid: Grid) -> Tensor:
    """Masks (rows, pixels, groups) for a layer of this grid."""
    if grid in masks:
        return masks[grid]
    finest = next(iter(masks))  # a patch shrinks activations, such as ComfyUI's deep shrink
    layers = rearrange(masks[finest], "r (h w) g -> (r g) h w", h=finest[0])
    return rearrange(for_layer(layers, grid), "(r g) p 1 -> r p g", r=len(masks[finest]))


def _repeat_rows(mask: Tensor, batch: int) -> Tensor:
    """Masks (rows, pixels, groups) -> (batch, pixels, groups): neighbours in the batch share a row of the masks."""
    return mask[:, None].expand(-1, batch // len(mask), -1, -1).flatten(0, 1)
