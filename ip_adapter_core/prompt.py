"""Image prompts: from the features of reference images to tokens, keys and values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from .adapter import Adapter, Identity, KeysValues

COND, UNCOND = 0, 1


class Features(NamedTuple):
    """What a vision encoder says of images: embeds (images, embed), hidden (images, patches, width)."""

    embeds: Tensor | None
    hidden: Tensor | None

    def read_by(self, identity: Identity, encoder: str) -> Tensor:
        """The part that an adapter reads, (images, …, width).

        encoder: how the user knows the encoder. Raises ValueError when it is not the one the adapter was trained with.
        """
        found = getattr(self, identity.variant.reads)
        if found is None or found.shape[-1] != identity.input_width:
            width = "none" if found is None else found.shape[-1]
            raise ValueError(
                f"This {identity.variant.name} adapter reads {identity.variant.reads} of width {identity.input_width} "
                f"({identity.encoder}); the connected {encoder} gives {width}. Load {identity.encoder} instead."
            )
        return found


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """Reference images as a condition, bound to the adapter that reads them.

    tokens (sides, prompts, tokens, context); keys_values of every layer (sides, prompts, tokens, inner), in adapter
    order. Sides are COND and UNCOND.
    """

    identity: Identity
    tokens: Tensor
    keys_values: tuple[KeysValues, ...]

    def to(self, device: torch.device) -> ImagePrompt:
        """The same prompt with its tensors on another device."""
        moved = tuple(KeysValues(keys.to(device), values.to(device)) for keys, values in self.keys_values)
        return replace(self, tokens=self.tokens.to(device), keys_values=moved)


def image_prompt(adapter: Adapter, cond: Tensor, uncond: Tensor) -> ImagePrompt:
    """One prompt of all given images: their tokens stand side by side under one softmax.

    cond (images, …) and uncond (1 to images, …), which is repeated to as many: the features that the adapter reads.
    Raises ValueError when there are more negative images than images.
    """
    if len(uncond) > len(cond):
        raise ValueError(f"There are {len(uncond)} negative images for {len(cond)} images; give at most as many.")
    paired = uncond[torch.arange(len(cond)) % len(uncond)]
    tokens = rearrange([adapter.tokens(cond), adapter.tokens(paired)], "sides n t c -> sides 1 (n t) c")
    return ImagePrompt(adapter.identity(), tokens, adapter.keys_values(tokens))
