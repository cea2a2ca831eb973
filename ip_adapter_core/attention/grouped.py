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
from .reference import by_head, image_attention

MOST_TOKENS = 32  # of a prompt in a product: with more, an attention for each is as fast
MOST_TOGETHER = 4  # prompts in an attention: queries and results, so many times, stay below a layer's feed-forward part


MasksByGrid = dict[Grid, Tensor]
"""Where something acts, (rows, pixels, groups) by the grid of a layer; the finest one first."""


class Image(NamedTuple):
    """What a layer attends to beside the text: λ·(K', V') (rows, tokens, inner), the logarithm of how often a token
    counts (tokens,), and where it acts, in one group. owners: the number of whom it is from."""

    image: KeysValues
    emphasis: Tensor | None = None
    masks: MasksByGrid | None = None
    owners: tuple[int, ...] = ()


class Stack(NamedTuple):
    """Several images of a layer as one, each a group of as many rows and tokens.

    form: of FORMS. image: in a product (rows, groups · tokens, inner), the scale of scores in the keys; in an attention
    (groups · rows, tokens, inner). ones (1, groups): what sums groups up. emphasis: added to the scores of a product
    (groups · tokens, 1), of an attention (groups · rows, tokens). owners: a number for each group, of whom it is from.
    """

    form: str
    image: KeysValues
    ones: Tensor
    emphasis: Tensor | None = None
    masks: MasksByGrid | None = None
    owners: tuple[int, ...] = ()

    @property
    def groups(self) -> int:
        """How many images it is made of."""
        return self.ones.shape[1]


class Form(NamedTuple):
    """A way to add several images: how many there may be at once, which ones, how they are made one, how they are
    added to a text attention's result (batch, pixels, inner) in place, masks (batch, pixels, groups)."""

    fewest: int
    most: int
    takes: Callable[[KeysValues], bool]
    joined: Callable[[Sequence[Image], int], tuple[KeysValues, Tensor | None]]
    add_: Callable[[Tensor, Tensor, Stack, int, Tensor | None], None]


def mask_for(image: Image, grid: Grid) -> Tensor | None:
    """Where an image acts in a layer of this grid, (rows, pixels, 1); None is everywhere."""
    return None if image.masks is None else _for_grid(image.masks, grid)


def stacked(images: Sequence[Image], heads: int) -> tuple[Image | Stack, ...]:
    """The images of a layer, those with as many rows and tokens in a stack where their device has a form for it."""
    alike: dict[torch.Size, list[Image]] = {}
    for image in images:
        alike.setdefault(image.image.keys.shape, []).append(image)
    return tuple(one for group in alike.values() for one in _grouped(group, heads))


def add_stack_(attended: Tensor, q: Tensor, stack: Stack, heads: int, grid: Grid | None = None) -> Tensor:
    """Add the attention to a stack to a text attention's result (batch, pixels, inner), contiguous, in place.

    q (batch, pixels, inner); grid: height and width of the layer, where the stack has masks.
    """
    mask = None if stack.masks is None or grid is None else _repeated(_for_grid(stack.masks, grid), len(q))
    FORMS[stack.form].add_(attended, q, stack, heads, mask)
    return attended


def _grouped(images: Sequence[Image], heads: int) -> Iterable[Image | Stack]:
    """Images of as many rows and tokens, in stacks of their device's form."""
    name = FORM_OF.get(images[0].image.keys.device.type, "")
    form = FORMS.get(name)
    if form is None or not form.takes(images[0].image):
        return images
    parts = [images[start : start + form.most] for start in range(0, len(images), form.most)]
    return [one for part in parts for one in ([_stack(part, heads, name)] if len(part) >= form.fewest else part)]


def _stack(images: Sequence[Image], heads: int, form: str) -> Stack:
    image, emphasis = FORMS[form].joined(images, heads)
    owners = tuple(owner for each in images for owner in each.owners)
    masks = joined([each.masks for each in images])
    return Stack(form, image, image.keys.new_ones(1, len(images)), emphasis, masks, owners)


# A product: tokens of all images side by side


def _is_short_and_full(image: KeysValues) -> bool:
    return image.keys.shape[1] <= MOST_TOKENS and image.keys.dtype not in (torch.float16, torch.bfloat16)


def _side_by_side(images: Sequence[Image], heads: int) -> tuple[KeysValues, Tensor | None]:
    keys, values = (torch.cat([image.image[part] for image in images], dim=1) for part in (0, 1))
    emphasis = _emphasis(images)
    scaled = keys * math.sqrt(heads / keys.shape[-1])
    return KeysValues(scaled, values), None if emphasis is None else emphasis.reshape(-1, 1)


def _add_product_(attended: Tensor, q: Tensor, stack: Stack, heads: int, mask: Tensor | None) -> None:
    """One row after another. Scores stand tokens by pixels: a softmax over few neighbouring numbers is many times
    slower on a processor than over rows."""
    rows, groups = len(stack.image.keys), stack.groups
    queries, keys, values, sums = (by_head(x, rows, heads) for x in (q, *stack.image, attended))
    masks = None if mask is None else mask.reshape(rows, -1, groups).mT[:, :, None]
    for row in range(rows):
        scores = _scores(keys[row], queries[row], stack.emphasis)
        shares = scores.view(heads, groups, -1, scores.shape[-1]).softmax(2)
        if masks is not None:
            shares = shares * masks[row]
        sums[row].baddbmm_(shares.view(scores.shape).mT, values[row])


def _scores(keys: Tensor, queries: Tensor, emphasis: Tensor | None) -> Tensor:
    return torch.bmm(keys, queries.mT) if emphasis is None else torch.baddbmm(emphasis, keys, queries.mT)


# An attention: rows of all images behind each other


def _any(image: KeysValues) -> bool:
    return True


def _behind(images: Sequence[Image], heads: int) -> tuple[KeysValues, Tensor | None]:
    joined = KeysValues(*(torch.cat([image.image[part] for image in images]) for part in (0, 1)))
    emphasis, rows = _emphasis(images), len(images[0].image.keys)
    return joined, None if emphasis is None else emphasis.repeat_interleave(rows, dim=0)


def _add_attention_(attended: Tensor, q: Tensor, stack: Stack, heads: int, mask: Tensor | None) -> None:
    found = image_attention(q.repeat(stack.groups, 1, 1), stack.image, heads, stack.emphasis)
    found = found.view(stack.groups, *q.shape)
    if mask is not None:
        found = found * mask.movedim(-1, 0)[..., None]
    # A sum over groups that adds to the text's result in one kernel, rounding once.
    attended.view(1, -1).addmm_(stack.ones, found.view(stack.groups, -1))


FORMS = {
    "product": Form(1, 1 << 30, _is_short_and_full, _side_by_side, _add_product_),
    "attention": Form(2, MOST_TOGETHER, _any, _behind, _add_attention_),
}
FORM_OF = {"cpu": "product", "cuda": "attention"}
"""The form of a kind of device."""


# Emphasis and masks of several images


def _emphasis(images: Sequence[Image]) -> Tensor | None:
    """What is added to the scores of each image's tokens, (groups, tokens); None where it is nothing."""
    if all(image.emphasis is None for image in images):
        return None
    none = images[0].image.keys.new_zeros(images[0].image.keys.shape[1])
    return torch.stack([none if image.emphasis is None else image.emphasis.to(none) for image in images])


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
