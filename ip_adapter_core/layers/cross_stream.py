"""Where Anima takes image attention: each of its blocks has a cross-attention to the text, whose queries images read.

Adapters have it in one of two places. Those of anima_lora add it inside, so that the block projects and gates it:

    picture = picture + gate · Project(Attn(Q, K, V) + λ·Attn(Q, K', V'))

Those of LuciferTC add it to the picture behind the whole block, with a gate of their own for each noise level:

    picture = Block(picture) + λ · gate' · Attn(Q, K', V')

Sources of the formulas: sorryhyun/anima_lora, bench/ip_adapter/impl/ip_adapter.py;
LuciferTC9527/ComfyUI-Anima_IP-Adapter, nodes.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .layout import Layer

CROSS = "cross"
"""The stage of such layers."""

INSIDE, BEHIND = 0, 1
"""Their depth: whether images are added to what the attention gives, or behind the whole block."""

STATES = 768
"""Width of the tokens that layers behind blocks read: they are what SigLIP2 base says of a picture, as it is."""


def is_cross_stream(config: Mapping[str, Any]) -> bool:
    """Whether a ComfyUI configuration describes Anima; Cosmos, of the same blocks, has another name there."""
    return config.get("image_model") == "anima"


def layers(config: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Inside the blocks of an Anima configuration, which adapter files number in running order."""
    return _layers(config, INSIDE)


def outer_layers(config: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Behind the same blocks."""
    return _layers(config, BEHIND)


def _layers(config: Mapping[str, Any], depth: int) -> tuple[Layer, ...]:
    width, heads = config["model_channels"], config["num_heads"]
    return tuple(Layer(CROSS, number, depth, width, heads) for number in range(config["num_blocks"]))
