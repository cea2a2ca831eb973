"""Seeded random weights that keep a network alive: finite, non-constant, and sensitive to every input."""

from math import prod, sqrt

import torch

from fabricate.unet import Shapes

GAIN = 0.7


def random_weights(shapes: Shapes, seed: int, prefix: str = "") -> dict[str, torch.Tensor]:
    """One fp16 tensor per key: scaled noise for matrices and kernels, 1 for scales, 0 for biases and shifts."""
    generator = torch.Generator().manual_seed(seed)
    return {prefix + key: random_tensor(key, shape, generator).half() for key, shape in shapes.items()}


def random_tensor(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Noise of variance GAIN² over the number of inputs, so that depth neither explodes nor silences the signal."""
    if len(shape) < 2:
        return torch.zeros(shape) if key.endswith(("bias", "shift")) else torch.ones(shape)
    return torch.randn(shape, generator=generator) * (GAIN / sqrt(prod(shape[1:])))
