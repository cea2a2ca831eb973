"""Random adapters of true sizes: image tokens, and what makes keys and values of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.nn.functional import linear

from ..ip_adapter_core.adapters.identity import Identity
from ..ip_adapter_core.adapters.keys_values import KeysValues
from ..ip_adapter_core.adapters.variants import VARIANTS
from ..ip_adapter_core.layers.layout import Layer
from ..ip_adapter_core.prompts.prompt import COND, UNCOND, ImagePrompt, PromptPart
from ..nodes.host import models
from .unets import context

_PLUS = 16  # tokens from which on an adapter is called a plus one
_EMBED = 1024


class Projection(NamedTuple):
    """to_k_ip and to_v_ip of one layer, (inner, context) each."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True, eq=False)
class RandomAdapter:
    """An adapter that has seen its references already.

    tokens (frames, tokens, context): of the references; uncond likewise, for all frames; projections: of every layer.
    """

    identity: Identity
    layers: tuple[Layer, ...]
    tokens: Tensor
    uncond: Tensor
    projections: tuple[Projection, ...]

    @property
    def prompt(self) -> ImagePrompt:
        """The prompt of its references."""
        rows = torch.cat([self.tokens, self.uncond])
        pairs = tuple(KeysValues(linear(rows, keys), linear(rows, values)) for keys, values in self.projections)
        return _prompt(self.identity, rows, pairs, len(self.tokens))


def adapter(model: ModelPatcher, tokens: int, seed: int = 0, frames: int = 1, references: int = 1) -> RandomAdapter:
    """A random adapter of so many tokens; tokens of several references stand side by side, frames have their own."""
    random = torch.Generator().manual_seed(seed)
    layers, wide = models.layers(model), context(model)
    projections = tuple(
        Projection(*(torch.randn(layer.width, wide, generator=random) * wide**-0.5 for _ in "kv")) for layer in layers
    )
    rows = torch.randn(frames + 1, references * tokens, wide, generator=random)
    return RandomAdapter(_identity(model, tokens), layers, rows[:-1], rows[-1:], projections)


def prompt(model: ModelPatcher, tokens: int, references: int = 1) -> ImagePrompt:
    """A prompt of random keys and values, where nobody asks for the adapter."""
    layers, many = models.layers(model), references * tokens
    pairs = tuple(KeysValues(*(torch.randn(2, many, layer.width) for _ in "kv")) for layer in layers)
    return _prompt(_identity(model, tokens), torch.randn(2, many, context(model)), pairs, 1, references)


def _prompt(
    identity: Identity, rows: Tensor, pairs: tuple[KeysValues, ...], frames: int, images: int = 1
) -> ImagePrompt:
    """rows (frames + 1, tokens, context): of each frame, and of their shared uncond side."""
    order = torch.empty(2, frames, dtype=torch.long)
    order[COND], order[UNCOND] = torch.arange(frames), frames
    return ImagePrompt(identity, (PromptPart(rows, pairs, order, images=images),))


def _identity(model: ModelPatcher, tokens: int) -> Identity:
    name = "plus" if tokens >= _PLUS else "base"
    variant = next(variant for variant in VARIANTS if variant.name == name)
    return Identity(variant, models.geometry(model), tokens, (_EMBED,))
