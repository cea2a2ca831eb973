"""Where SD3.5 takes image attention: in its joint blocks, where texts and picture share one attention.

Image attention is added to what that attention gives the picture, so that the block projects and gates both:

    picture = picture + gate · Project(Attn(…) + λ·Attn(Q, [K; K'], [V; V']))

Q, K and V are the picture's alone, with norms of the adapter's own in place of the block's.
Source of the formula: InstantX/SD3.5-Large-IP-Adapter, models/attention_processor.py, as diffusers has it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .layout import Layer

JOINT = "joint"
"""The stage of such layers."""

_HEAD_WIDTH = 64  # ComfyUI's MMDiT has no other


def is_joint_stream(config: Mapping[str, Any]) -> bool:
    """Whether a ComfyUI configuration describes a model of SD3's construction; it has no name there."""
    return config.get("depth") is not None and "x_block_self_attn_layers" in config


def layers(config: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The joint blocks of an SD3 configuration, which adapter files number in running order."""
    heads = config["depth"]
    return tuple(Layer(JOINT, number, 0, width(config), heads) for number in range(config.get("num_blocks") or heads))


def width(config: Mapping[str, Any]) -> int:
    """Of both streams: the text's tokens are as wide as the picture's."""
    wide: int = _HEAD_WIDTH * config["depth"]
    return wide
