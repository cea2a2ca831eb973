"""Where Flux takes image attention: in double blocks, with streams of texts and of pictures, and in single blocks.

Adapters have it in one of two places. XLabs' add it to the picture's stream behind each whole double block, neither
gated nor projected; K' and V' are not normalised:

    picture = Block(picture) + λ·Attn(Q, K', V')

InstantX's add it inside every block, double and single, so that the block projects and gates it; K' is normalised:

    picture = picture + gate · Project(Attn(…) + λ·Attn(Q, K', V'))

Q are the queries of that block, normalised by head and not yet rotated: of the picture, and in single blocks, which
have one stream, of texts too.
Sources of the formulas: XLabs-AI/x-flux, src/flux/modules/layers.py, IPDoubleStreamBlockProcessor;
InstantX/FLUX.1-dev-IP-Adapter, attention_processor.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .layout import Layer

DOUBLE, SINGLE = "double", "single"
"""The stages of such layers."""

BEHIND, INSIDE = 0, 1
"""Their depth: whether images are added behind the whole block, or to what its attention gives."""


def is_double_stream(config: Mapping[str, Any]) -> bool:
    """Whether a ComfyUI configuration describes Flux; its relatives have configurations of other names."""
    return config.get("image_model") == "flux"


def layers(config: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Behind the double blocks of a Flux configuration, which XLabs' files number in running order."""
    return _layers(config, DOUBLE, config["depth"], BEHIND)


def inner_layers(config: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Inside the double blocks and then the single ones, as InstantX's files number them."""
    singles = config.get("depth_single_blocks", 0)
    return (*_layers(config, DOUBLE, config["depth"], INSIDE), *_layers(config, SINGLE, singles, INSIDE))


def _layers(config: Mapping[str, Any], stage: str, blocks: int, depth: int) -> tuple[Layer, ...]:
    width, heads = config["hidden_size"], config["num_heads"]
    return tuple(Layer(stage, number, depth, width, heads) for number in range(blocks))
