"""The deterministic filler of the golden numbers: tensors that any implementation can make for itself."""

import zlib

import torch
from torch import Tensor


def golden(name: str, *shape: int) -> Tensor:
    """A tensor by name: inputs and matrices centred on 0, norm weights on 1, in float64."""
    k = torch.arange(torch.Size(shape).numel(), dtype=torch.int64)
    seed = zlib.crc32(name.encode())
    v = ((1103515245 * k * k + 12345 * k + 1013904223 * seed) % 2**31).double() / 2**31 - 0.5
    if name.startswith("input:"):
        v = 2 * v
    elif len(shape) > 1:
        v = 2 * v / shape[-1] ** 0.5
    elif name.endswith(".weight"):
        v = 1 + v
    return v.reshape(shape)


def check(found: Tensor, total: float, squares: float, first: list[float], last: float) -> None:
    """Compare with a row of recorded numbers: sum, sum of squares, first four and last value."""
    flat = found.double().flatten()
    expected = torch.tensor([total, squares, *first, last], dtype=torch.float64)
    numbers = torch.cat([flat.sum()[None], flat.square().sum()[None], flat[:4], flat[-1:]])
    torch.testing.assert_close(numbers, expected, atol=1e-5, rtol=0)
