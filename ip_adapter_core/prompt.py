"""Image prompts: from the features of reference images to tokens, keys and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import normalize

from .adapter import Adapter, Identity, KeysValues
from .lora import AdapterLora
from .variants import ENCODED

COND, UNCOND = 0, 1


Reading = tuple[Tensor, ...]
"""What an adapter reads of images: a tensor (images, …, width) for each field of its variant, in order."""


class Features(NamedTuple):
    """What is known of images: embeds (images, embed) and hidden (images, patches, width) of a vision encoder; face
    (images, face), the embeddings of a recognition network as it gives them."""

    embeds: Tensor | None = None
    hidden: Tensor | None = None
    face: Tensor | None = None

    @property
    def normed_face(self) -> Tensor | None:
        """Face embeddings of length 1."""
        return None if self.face is None else normalize(self.face, dim=-1)

    def read_by(self, identity: Identity, encoder: str) -> Reading:
        """What an adapter reads of the images.

        encoder: how the user knows the encoder. Raises ValueError when it is not the one the adapter was trained with.
        """
        found = tuple(getattr(self, field) for field in identity.variant.reads)
        for field, width, tensor in zip(identity.variant.reads, identity.widths, found, strict=True):
            if tensor is None or tensor.shape[-1] != width:
                given = "none" if tensor is None else tensor.shape[-1]
                needed = identity.encoder if field in ENCODED else "a recognition network of the ArcFace kind"
                raise ValueError(
                    f"This {identity.variant.name} adapter reads {field} of width {width} ({needed}); "
                    f"the connected {encoder} gives {given}. Load {needed} instead."
                )
        return found


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """Reference images as a condition, bound to the adapter that reads them.

    tokens (sides, prompts, tokens, context); keys_values of every layer (sides, prompts, tokens, inner), in adapter
    order. Sides are COND and UNCOND. Where the base model itself projects the tokens first, keys_values is empty until
    `widened`, and project makes them. lora is what the adapter brings for the model's own weights.
    """

    identity: Identity
    tokens: Tensor
    keys_values: tuple[KeysValues, ...]
    lora: AdapterLora | None = None
    project: Callable[[Tensor], tuple[KeysValues, ...]] | None = None

    def to(self, device: torch.device) -> ImagePrompt:
        """The same prompt with its tensors on another device."""
        moved = tuple(KeysValues(keys.to(device), values.to(device)) for keys, values in self.keys_values)
        return replace(self, tokens=self.tokens.to(device), keys_values=moved)

    def widened(self, widen: Callable[[Tensor], Tensor]) -> ImagePrompt:
        """The prompt with keys and values of the tokens as the base model projects them; itself where it does not."""
        if self.project is None:
            return self
        tokens = widen(self.tokens)
        return replace(self, tokens=tokens, keys_values=self.project(tokens), project=None)


def image_prompt(adapter: Adapter, cond: Reading, uncond: Reading, **scales: float) -> ImagePrompt:
    """One prompt of all given images: their tokens stand side by side under one softmax.

    cond (images, …) and uncond (1 to images, …), which is repeated to as many: what the adapter reads of the images and
    of negative ones. scales: of the variant. Raises ValueError when there are more negative images than images.
    """
    count, negative = len(cond[0]), len(uncond[0])
    if negative > count:
        raise ValueError(f"There are {negative} negative images for {count} images; give at most as many.")
    dealt = torch.arange(count) % negative
    sides = [adapter.tokens(*cond, **scales), adapter.tokens(*(part[dealt] for part in uncond), **scales)]
    tokens = rearrange(sides, "sides n t c -> sides 1 (n t) c")
    if adapter.variant.widened:
        return ImagePrompt(adapter.identity(), tokens, (), adapter.lora, adapter.keys_values)
    return ImagePrompt(adapter.identity(), tokens, adapter.keys_values(tokens), adapter.lora)
