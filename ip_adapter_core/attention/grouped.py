"""Several image prompts of a layer as one, so that queries are read once for all of them.

On a processor in full precision: scores of all prompts at once, a softmax within each prompt's own tokens, and a
product that adds to the text's result in place; for few tokens cheaper than torch's attention, which is made for long
sequences. On a GPU: torch's own attention, once, each prompt in rows of its own, as starting kernels is what costs
there. Scores that leave a product in half precision are too coarse for a softmax, so halves have torch's attention
everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from ..adapters.keys_values import KeysValues
from ..settings.masks import Grid, for_layer
from .reference import image_attention, split_heads

MAX_TOKENS = 32  # of a prompt in a product: with more, an attention for each is as fast
MAX_TOGETHER = 4  # prompts in an attention: queries and results, so many times, stay below a layer's feed-forward part


MasksByGrid = dict[Grid, Tensor]
"""Where something acts, (rows, pixels, groups) by the grid of a layer; the finest one first."""


class ImageKV(NamedTuple):
    """What a layer attends to beside the text: λ·(K', V') (rows, tokens, inner), the logarithm of how often a token
    counts (tokens,), and where it acts, in one group. owners: the number of whom it is from."""

    kv: KeysValues
    attn_bias: Tensor | None = None
    masks: MasksByGrid | None = None
    owners: tuple[int, ...] = ()


class GroupedKV(NamedTuple):
    """Several images of a layer as one, each a group of as many rows and tokens.

    form: of FORMS. image: in a product (rows, groups · tokens, inner), the scale of scores in the keys; in an attention
    (groups · rows, tokens, inner). ones (1, groups): what sums groups up. emphasis: added to the scores of a product
    (groups · tokens, 1), of an attention (groups · rows, tokens). owners: a number for each group, of whom it is from.
    """

    form: str
    kv: KeysValues
    ones: Tensor
    attn_bias: Tensor | None = None
    masks: MasksByGrid | None = None
    owners: tuple[int, ...] = ()

    @property
    def groups(self) -> int:
        """How many images it is made of."""
        return self.ones.shape[1]


class Form(NamedTuple):
    """A way to add several images: how many there may be at once, which ones, how they are made one, how they are
    added to a text attention's result (batch, pixels, inner) in place, masks (batch, pixels, groups)."""

    min_images: int
    max_images: int
    accepts: Callable[[KeysValues], bool]
    join: Callable[[Sequence[ImageKV], int], tuple[KeysValues, Tensor | None]]
    add_: Callable[[Tensor, Tensor, GroupedKV, int, Tensor | None], None]


def mask_for(image: ImageKV, grid: Grid) -> Tensor | None:
    """Where an image acts in a layer of this grid, (rows, pixels, 1); None is everywhere."""
    return None if image.masks is None else _resize_masks(image.masks, grid)


def group_images(images: Sequence[ImageKV], heads: int) -> tuple[ImageKV | GroupedKV, ...]:
    """The images of a layer, those with as many rows and tokens in a stack where their device has a form for it."""
    alike: dict[torch.Size, list[ImageKV]] = {}
    for image in images:
        alike.setdefault(image.kv.keys.shape, []).append(image)
    return tuple(one for group in alike.values() for one in _group_alike(group, heads))


def add_grouped_(attended: Tensor, q: Tensor, stack: GroupedKV, heads: int, grid: Grid | None = None) -> Tensor:
    """Add the attention to a stack to a text attention's result (batch, pixels, inner), contiguous, in place.

    q (batch, pixels, inner); grid: height and width of the layer, where the stack has masks.
    """
    mask = None if stack.masks is None or grid is None else _repeat_rows(_resize_masks(stack.masks, grid), len(q))
    FORMS[stack.form].add_(attended, q, stack, heads, mask)
    return attended


def _group_alike(images: Sequence[ImageKV], heads: int) -> Iterable[ImageKV | GroupedKV]:
    """Images of as many rows and tokens, in stacks of their device's form."""
    name = FORM_OF.get(images[0].kv.keys.device.type, "")
    form = FORMS.get(name)
    if form is None or not form.accepts(images[0].kv):
        return images
    parts = [images[start : start + form.max_images] for start in range(0, len(images), form.max_images)]
    return [one for part in parts for one in ([_group(part, heads, name)] if len(part) >= form.min_images else part)]


def _group(images: Sequence[ImageKV], heads: int, form: str) -> GroupedKV:
    image, attn_bias = FORMS[form].join(images, heads)
    owners = tuple(owner for each in images for owner in each.owners)
    masks = join_masks([each.masks for each in images])
    return GroupedKV(form, image, image.keys.new_ones(1, len(images)), attn_bias, masks, owners)


# A product: tokens of all images side by side


def _is_short_and_full(image: KeysValues) -> bool:
    return image.keys.shape[1] <= MAX_TOKENS and image.keys.dtype not in (torch.float16, torch.bfloat16)


def _concat_tokens(images: Sequence[ImageKV], heads: int) -> tuple[KeysValues, Tensor | None]:
    keys, values = (torch.cat([image.kv[part] for image in images], dim=1) for part in (0, 1))
    attn_bias = _attn_bias(images)
    scaled = keys * math.sqrt(heads / keys.shape[-1])
    return KeysValues(scaled, values), None if attn_bias is None else attn_bias.reshape(-1, 1)


def _add_product_(attended: Tensor, q: Tensor, stack: GroupedKV, heads: int, mask: Tensor | None) -> None:
    """One row after another. Scores stand tokens by pixels: a softmax over few neighbouring numbers is many times
    slower on a processor than over rows."""
    rows, groups = len(stack.kv.keys), stack.groups
    queries, keys, values, sums = (split_heads(x, rows, heads) for x in (q, *stack.kv, attended))
    masks = None if mask is None else mask.reshape(rows, -1, groups).mT[:, :, None]
    for row in range(rows):
        scores = _scores(keys[row], queries[row], stack.attn_bias)
        shares = scores.view(heads, groups, -1, scores.shape[-1]).softmax(2)
        if masks is not None:
            shares = shares * masks[row]
        sums[row].baddbmm_(shares.view(scores.shape).mT, values[row])


def _scores(keys: Tensor, queries: Tensor, attn_bias: Tensor | None) -> Tensor:
    return torch.bmm(keys, queries.mT) if attn_bias is None else torch.baddbmm(attn_bias, keys, queries.mT)


# An attention: rows of all images behind each other


def _accept_any(image: KeysValues) -> bool:
    return True


def _stack_rows(images: Sequence[ImageKV], heads: int) -> tuple[KeysValues, Tensor | None]:
    joined = KeysValues(*(torch.cat([image.kv[part] for image in images]) for part in (0, 1)))
    attn_bias, rows = _attn_bias(images), len(images[0].kv.keys)
    return joined, None if attn_bias is None else attn_bias.repeat_interleave(rows, dim=0)


def _add_attention_(attended: Tensor, q: Tensor, stack: GroupedKV, heads: int, mask: Tensor | None) -> None:
    found = image_attention(q.repeat(stack.groups, 1, 1), stack.kv, heads, stack.attn_bias)
    found = found.view(stack.groups, *q.shape)
    if mask is not None:
        found = found * mask.movedim(-1, 0)[..., None]
    # A sum over groups that adds to the text's result in one kernel, rounding once.
    attended.view(1, -1).addmm_(stack.ones, found.view(stack.groups, -1))


FORMS = {
    "product": Form(1, 1 << 30, _is_short_and_full, _concat_tokens, _add_product_),
    "attention": Form(2, MAX_TOGETHER, _accept_any, _stack_rows, _add_attention_),
}
FORM_OF = {"cpu": "product", "cuda": "attention"}
"""The form of a kind of device."""


# Emphasis and masks of several images


def _attn_bias(images: Sequence[ImageKV]) -> Tensor | None:
    """What is added to the scores of each image's tokens, (groups, tokens); None where it is nothing."""
    if all(image.attn_bias is None for image in images):
        return None
    none = images[0].kv.keys.new_zeros(images[0].kv.keys.shape[1])
    return torch.stack([none if image.attn_bias is None else image.attn_bias.to(none) for image in images])


def join_masks(masks: Sequence[MasksByGrid | None]) -> MasksByGrid | None:
    """Where each of several groups acts, side by side; None where all act everywhere."""
    some = next((each for each in masks if each), None)
    if some is None or len(masks) == 1:
        return some
    found = {}
    for grid, like in some.items():
        parts = [each[grid] if each else torch.ones_like(like[:1]) for each in masks]
        rows = max(map(len, parts))
        found[grid] = torch.cat([_repeat_rows(part, rows) for part in parts], dim=-1)
    return found


def _resize_masks(masks: MasksByGrid, grid: Grid) -> Tensor:
    """Masks (rows, pixels, groups) for a layer of this grid."""
    if grid in masks:
        return masks[grid]
    finest = next(iter(masks))  # a patch shrinks activations, such as core's deep shrink
    layers = rearrange(masks[finest], "r (h w) g -> (r g) h w", h=finest[0])
    return rearrange(for_layer(layers, grid), "(r g) p 1 -> r p g", r=len(masks[finest]))


def _repeat_rows(mask: Tensor, batch: int) -> Tensor:
    """Masks (rows, pixels, groups) for each of a batch, whose neighbours share a row: (batch, pixels, groups)."""
    return mask[:, None].expand(-1, batch // len(mask), -1, -1).flatten(0, 1)
