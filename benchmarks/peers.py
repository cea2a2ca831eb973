"""How image prompts are usually put into ComfyUI, written from the formula, to measure against.

In every layer and every step: the noise level is read, keys and values of the tokens are projected, for cond and uncond
apart, repeated over the batch and put together; then follow an attention of their own, a product and a sum. Several
adapters do so one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from comfy.ldm.modules import attention
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.nn.functional import linear

from .adapters import Projection, RandomAdapter

Options = dict[str, Any]


class Image(NamedTuple):
    """What one adapter adds to one layer: tokens and uncond (rows, tokens, context); first, last: noise levels."""

    tokens: Tensor
    uncond: Tensor
    projection: Projection
    weight: float
    first: float = float("inf")
    last: float = 0.0


def apply(model: ModelPatcher, adapters: Sequence[RandomAdapter], weight: float = 1.0) -> ModelPatcher:
    """A clone of the model that follows these adapters."""
    clone = model.clone()
    for number, layer in enumerate(adapters[0].layers):
        images = [Image(one.tokens, one.uncond, one.projections[number], weight) for one in adapters]
        clone.set_model_attn2_replace(Patch(images), layer.stage, layer.block, layer.depth)
    return clone


class Patch:
    """What stands in place of a layer's attention."""

    def __init__(self, images: Sequence[Image]) -> None:
        self.images = images

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
        """Attn(Q, K, V) + Σ λ·Attn(Q, K', V') of the images that act at this noise level."""
        sigma = options["sigmas"].detach().cpu()[0].item()
        found = attention.optimized_attention(q, k, v, options["n_heads"])
        for image in self.images:
            if image.last <= sigma <= image.first:
                found = found + added(q, image, options)
        return found


def added(q: Tensor, image: Image, options: Options) -> Tensor:
    """λ·Attn(Q, K', V') of one image, (batch, pixels, inner)."""
    sides: Sequence[int] = options["cond_or_uncond"]
    keys, values = (_batched(image, weight, sides, len(q)) for weight in image.projection)
    return attention.optimized_attention(q, keys, values, options["n_heads"]) * image.weight


def _batched(image: Image, weight: Tensor, sides: Sequence[int], rows: int) -> Tensor:
    """Tokens of cond and uncond, projected, for every row of a batch, (rows, tokens, inner)."""
    each = rows // len(sides)
    cond, uncond = (linear(tokens, weight).repeat(each // len(tokens), 1, 1) for tokens in (image.tokens, image.uncond))
    return torch.cat([(cond, uncond)[side] for side in sides])
