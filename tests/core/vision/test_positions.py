"""Position embeddings of other grids: the trained grid is exact, growing is smooth, shrinking is antialiased."""

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.vision.positions import Positions, interpolate

GRID, WIDTH = 6, 3


def embeddings(others: int, grid: int = GRID, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(others + grid**2, WIDTH, generator=generator).to(dtype)


def positions(others: int) -> Positions:
    return Positions("positional_embedding", GRID, others)


def on_grid(found: Tensor, others: int, grid: int) -> Tensor:
    return found[others:].reshape(grid, grid, WIDTH)


@pytest.mark.parametrize("others", [0, 1, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_trained_grid_stays_bit_for_bit(others: int, dtype: torch.dtype) -> None:
    given = embeddings(others, dtype=dtype)
    found = interpolate(given, positions(others), GRID)
    assert found.dtype == dtype
    assert torch.equal(found, given)


@pytest.mark.parametrize("others", [0, 1, 5])
@pytest.mark.parametrize("grid", [3, 9, 12])
def test_what_stands_before_the_grid_stays_bit_for_bit(others: int, grid: int) -> None:
    given = embeddings(others)
    found = interpolate(given, positions(others), grid)
    assert found.shape == (others + grid**2, WIDTH)
    assert torch.equal(found[:others], given[:others])


def test_leading_dimensions_stay() -> None:
    given = embeddings(1)
    assert torch.equal(interpolate(given[None], positions(1), 9), interpolate(given, positions(1), 9)[None])


def test_rows_and_columns_are_not_exchanged() -> None:
    rows = torch.arange(GRID).float().repeat_interleave(GRID)[:, None].expand(-1, WIDTH)
    found = on_grid(interpolate(rows, positions(0), 12), 0, 12)
    assert torch.allclose(found, found[:, :1].expand(-1, 12, -1), atol=1e-5)
    assert (found[1:-1].diff(dim=0) > 0).all()


def test_growing_keeps_a_slope_nearly_a_slope() -> None:
    slope = torch.arange(GRID).float().repeat(GRID)[:, None].expand(-1, WIDTH)
    found = on_grid(interpolate(slope, positions(0), 12), 0, 12)
    wanted = ((torch.arange(12) + 0.5) / 2 - 0.5)[:, None]
    assert torch.allclose(found[0, 4:-4], wanted[4:-4].expand(-1, WIDTH), atol=0.06)  # torch's cubic, a = -0.75


def test_shrinking_averages_what_it_leaves_out() -> None:
    checkers = torch.tensor([(row + column) % 2 for row in range(GRID) for column in range(GRID)]).float()
    found = on_grid(interpolate(checkers[:, None].expand(-1, WIDTH), positions(0), 2), 0, 2)
    assert torch.allclose(found, torch.full_like(found, 0.5), atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_interpolated_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    given = embeddings(1, dtype=dtype)
    assert torch.equal(interpolate(given, positions(1), 12), interpolate(given.float(), positions(1), 12).to(dtype))
