"""A small upscaler file that stock ComfyUI loads."""

import itertools
from pathlib import Path

import torch

from fabricate.checkpoints import save

FEATURES, SCALE = 8, 2


def tiny_upscaler(path: Path, seed: int = 0) -> Path:
    """A Real-ESRGAN Compact (SRVGGNetCompact) with one layer between the first and the last; doubles the size."""
    generator = torch.Generator().manual_seed(seed)
    widths = (3, FEATURES, FEATURES, 3 * SCALE**2)
    weights: dict[str, torch.Tensor] = {}
    for layer, (inner, outer) in enumerate(itertools.pairwise(widths)):
        weights[f"body.{2 * layer}.weight"] = torch.randn(outer, inner, 3, 3, generator=generator) * (9 * inner) ** -0.5
        weights[f"body.{2 * layer}.bias"] = torch.zeros(outer)
        if outer == FEATURES:
            weights[f"body.{2 * layer + 1}.weight"] = torch.full((FEATURES,), 0.25)
    return save(path, weights)
