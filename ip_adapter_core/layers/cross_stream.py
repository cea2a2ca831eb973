"""Where Anima takes image attention: in the cross-attention to the text that each of its blocks has.

    picture = picture + gate · Project(Attn(Q, K, V) + λ·Attn(Q, K', V'))

Source of the formula: sorryhyun/anima_lora, bench/ip_adapter/impl/ip_adapter.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .layout import Layer

CROSS = "cross"
"""The stage of such layers."""


def is_cross_stream(config: Mapping[str, Any]) -> bool:
    """Whether a ComfyUI configuration describes Anima; Cosmos, of the same blocks, has another name there."""
    return config.get("image_model") == "anima"


def layers(config: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The blocks of an Anima configuration, which adapter files number in running order."""
    width, heads = config["model_channels"], config["num_heads"]
    return tuple(Layer(CROSS, number, 0, width, heads) for number in range(config["num_blocks"]))
