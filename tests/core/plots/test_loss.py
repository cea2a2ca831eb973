"""Tests of ip_adapter_core/plots/loss.py: a picture that shows the loss and survives every list of numbers."""

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.plots import loss
from comfyui_ip_adapter.ip_adapter_core.plots.axes import axis
from comfyui_ip_adapter.ip_adapter_core.plots.drawing import BLUE, DIM_BLUE

SMOOTH, RAW = (tuple(bytes.fromhex(colour[1:])) for colour in (BLUE, DIM_BLUE))


def line(losses: list[float]) -> np.ndarray:
    """Heights of the running mean in the picture, from left to right."""
    picture = np.asarray(loss.draw(losses))
    rows, columns = np.nonzero((picture == SMOOTH).all(axis=-1))
    return np.array([rows[columns == column].mean() for column in sorted(set(columns))])


def test_a_falling_loss_falls_in_the_picture() -> None:
    heights = line([1 / step for step in range(1, 200)])
    assert heights[-1] > heights[0] + 100
    assert (np.diff(heights) > -2).all()


def test_the_line_covers_the_whole_width() -> None:
    assert len(line([1.0, 2.0])) > 500


@pytest.mark.parametrize(
    "losses", [[], [1.0], [0.0, 0.0], [float("nan")], [1.0, float("nan"), 2.0], [float("inf"), 1.0], [1e-30] * 3]
)
def test_every_list_of_numbers_is_drawn(losses: list[float]) -> None:
    assert loss.draw(losses).size == loss.SIZE


def test_an_outlier_does_not_flatten_the_rest() -> None:
    losses = [1 + step % 2 for step in range(400)]
    losses[200] = 10**6
    picture = np.asarray(loss.draw(losses))
    raw = np.nonzero((picture == RAW).all(axis=-1))[0]
    assert np.ptp(raw) > 100


def test_the_running_mean_of_a_constant_is_the_constant_from_the_first_step() -> None:
    assert np.allclose(loss.smooth([3.0] * 50), 3)


def test_the_running_mean_is_calmer_than_the_losses() -> None:
    losses = np.random.default_rng(0).normal(1, 0.5, 1000)
    assert loss.smooth(losses)[100:].std() < losses.std() / 4


@pytest.mark.parametrize(("least", "most"), [(0.1, 0.9), (1, 2000), (0.0123, 0.0129), (5, 5), (0, 0)])
def test_an_axis_has_a_few_round_numbers_inside_its_range(least: float, most: float) -> None:
    found = axis(least, most)
    assert 2 <= len(found.ticks) <= 7
    assert all(found.least - 1e-9 <= tick <= found.most + 1e-9 for tick in found.ticks)
    assert all(len(f"{tick:.4g}") <= 7 for tick in found.ticks)


def test_later_losses_are_numbered_as_they_were_made() -> None:
    assert not np.array_equal(np.asarray(loss.draw([1.0, 2.0])), np.asarray(loss.draw([1.0, 2.0], first=500)))
