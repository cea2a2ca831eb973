"""What transformer_options tell an attention patch: which layer it is in, its grid, and what overrides attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ....ip_adapter_core.settings.masks import Grid

Options = dict[str, Any]
"""The host's transformer_options; in a layer, the host adds the keys of that layer to them."""

OVERRIDE = "optimized_attention_override"
"""The key of the options that may hold an override of attention."""

Attend = Callable[..., Tensor]
"""(q, k, v, heads, …) -> Attn(Q, K, V), (batch, tokens, inner)."""

Address = tuple[str, int, int]
"""Which cross-attention: the stage of the UNet, the block in the stage, the transformer block in the block."""


def address_of(options: Options) -> Address:
    """The address of the layer that is being computed."""
    return (*options["block"], options["block_index"])


def grid_of(options: Options) -> Grid:
    """Height and width of the layer's activations."""
    return options["activations_shape"][-2], options["activations_shape"][-1]
