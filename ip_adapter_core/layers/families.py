"""The published families of base models: their configurations, and the geometry that identifies them."""

from __future__ import annotations

from typing import Any

from .architectures import geometries
from .layout import Geometry

_SD: dict[str, Any] = {
    "model_channels": 320,
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
}
_EIGHT_HEADS, _HEADS_OF_64 = {"num_heads": 8, "num_head_channels": -1}, {"num_heads": -1, "num_head_channels": 64}

CONFIGS: dict[str, dict[str, Any]] = {
    "SD1.5": _SD | _EIGHT_HEADS | {"context_dim": 768},
    "SD2": _SD | _HEADS_OF_64 | {"context_dim": 1024},
    "SDXL": {
        **_HEADS_OF_64,
        "model_channels": 320,
        "channel_mult": [1, 2, 4],
        "num_res_blocks": 2,
        "transformer_depth": [0, 0, 2, 2, 10, 10],
        "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
        "transformer_depth_middle": 10,
        "context_dim": 2048,
    },
    "Flux": {
        "image_model": "flux",
        "hidden_size": 3072,
        "num_heads": 24,
        "depth": 19,
        "depth_single_blocks": 38,
        "context_in_dim": 4096,
    },
    "Anima": {
        "image_model": "anima",
        "model_channels": 2048,
        "num_heads": 16,
        "num_blocks": 28,
        "crossattn_emb_channels": 1024,
    },
    "SD3.5 Large": {"depth": 38, "qk_norm": "rms", "x_block_self_attn_layers": []},
}
"""Configurations as ComfyUI has them, as far as layers depend on them."""

GEOMETRIES: dict[str, tuple[Geometry, ...]] = {name: geometries(config) for name, config in CONFIGS.items()}
"""What adapters for each family match one of."""

FAMILIES: dict[str, Geometry] = {name: usual for name, (usual, *_) in GEOMETRIES.items()}


def family(geometry: Geometry) -> str:
    """Name of the published family with this geometry, or `a model of its own kind`."""
    return next((name for name, published in GEOMETRIES.items() if geometry in published), "a model of its own kind")


def alike(geometry: Geometry) -> tuple[Geometry, ...]:
    """The geometries of adapters for the same published family; for other models this one alone."""
    return GEOMETRIES.get(family(geometry), (geometry,))


def describe(geometry: Geometry, name: str | None = None) -> str:
    """Name of the family with its numbers: `SDXL (70 layers, context 2048)`.

    name: of a family that layers alone do not identify.
    """
    return f"{name or family(geometry)} ({len(geometry.widths)} layers, context {geometry.context})"
