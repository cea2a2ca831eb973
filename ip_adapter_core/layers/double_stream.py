"""Where Flux takes image attention: in its double blocks, which hold a stream of texts and one of pictures.

Image attention is added to the picture's stream behind each whole double block, neither gated nor projected:

    picture = Block(picture) + λ·Attn(Q, K', V')

Q are the picture's queries in that block, normalised by head and not yet rotated; K' and V' are not normalised.
Source of the formula: XLabs-AI/x-flux, src/flux/modules/layers.py, IPDoubleStreamBlockProcessor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .layout import Layer

DOUBLE = "double"
"""The stage of such layers."""


def is_double_stream(config: Mapping[str, Any]) -> bool:
    """Whether a ComfyUI configuration describes Flux; its relatives have configurations of other names."""
    return config.get("image_model") == "flux"


def layers(config: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The double blocks of a Flux configuration, which adapter files number in running order."""
    return tuple(
        Layer(DOUBLE, number, 0, config["hidden_size"], config["num_heads"]) for number in range(config["depth"])
    )
