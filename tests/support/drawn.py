"""Random values that are the same each time."""

import torch
from torch import Tensor


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normally distributed values of this shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
