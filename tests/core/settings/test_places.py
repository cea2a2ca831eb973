"""Places by name cover what their names say, on every grid of a picture."""

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.settings.masks import to_grid, usable
from comfyui_ip_adapter.ip_adapter_core.settings.places import PLACES, SIDE, WHOLE, mask

HALVES = [("left half", "right half"), ("top half", "bottom half")]
QUARTERS = [("top left quarter", "top right quarter", "bottom left quarter", "bottom right quarter")]
THIRDS = [
    ("left third", "middle third", "right third"),
    ("top third", "third between top and bottom", "bottom third"),
]


def test_the_default_is_first_and_masks_nothing() -> None:
    assert WHOLE == "whole picture"
    assert usable(mask(WHOLE)) is None


@pytest.mark.parametrize("together", [*HALVES, *QUARTERS, *THIRDS])
def test_parts_make_the_whole_and_do_not_overlap(together: tuple[str, ...]) -> None:
    assert torch.equal(sum(mask(place) for place in together), torch.ones(1, SIDE, SIDE))  # type: ignore[arg-type]


@pytest.mark.parametrize("place", PLACES)
def test_a_place_covers_its_part_of_the_area(place: str) -> None:
    left, top, right, bottom = PLACES[place]
    assert float(mask(place).mean()) == pytest.approx((right - left) * (bottom - top))


@pytest.mark.parametrize("grid", [(64, 64), (96, 48), (12, 24), (33, 65)])
@pytest.mark.parametrize("place", PLACES)
def test_on_a_layer_a_cell_has_what_the_place_covers_of_it(place: str, grid: tuple[int, int]) -> None:
    left, top, right, bottom = PLACES[place]
    rows, columns = covered(top, bottom, grid[0]), covered(left, right, grid[1])
    assert torch.allclose(to_grid(mask(place), grid)[0], rows[:, None] * columns, atol=0.06)


def covered(start: float, end: float, cells: int) -> torch.Tensor:
    """What a span of 0..1 covers of each of so many cells."""
    edges = torch.linspace(0, 1, cells + 1)
    return (torch.minimum(edges[1:], torch.tensor(end)) - torch.maximum(edges[:-1], torch.tensor(start))).clamp(
        min=0
    ) * cells


@pytest.mark.parametrize("place", ["left half", "bottom right quarter", "centre"])
@pytest.mark.parametrize("grid", [(64, 64), (96, 48), (12, 24)])
def test_where_edges_fall_between_cells_it_is_exact(place: str, grid: tuple[int, int]) -> None:
    assert set(to_grid(mask(place), grid).unique().tolist()) == {0.0, 1.0}


def test_another_name_is_refused_with_the_menu() -> None:
    with pytest.raises(ValueError, match="left half, right half"):
        mask("left")
