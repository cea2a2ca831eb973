"""What a mask leaves out becomes one colour: nothing of it is seen, and the edge of what stays is soft."""

import numpy as np
import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.vision.colours import BLACK, GREY, WHITE
from comfyui_ip_adapter.ip_adapter_core.vision.cutout import Background, masks_of, without_background

SIDE = 100


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def middle() -> torch.Tensor:
    mask = torch.zeros(SIDE, SIDE)
    mask[20:80, 20:80] = 1
    return mask


@pytest.mark.parametrize("colour", [GREY, BLACK, WHITE, (0.2, 0.4, 0.6)])
@pytest.mark.parametrize("soft_edge", [0.0, 2.0, 10.0])
def test_outside_is_the_colour_and_deep_inside_the_picture(colour: tuple[float, ...], soft_edge: float) -> None:
    found = without_background(photo(), middle(), Background(colour, soft_edge))
    assert (found[middle() == 0] == np.round(np.array(colour) * 255)).all()
    deep = slice(20 + round(soft_edge), 80 - round(soft_edge))
    assert np.array_equal(found[deep, deep], photo()[deep, deep])


@pytest.mark.parametrize("soft_edge", [0.0, 2.0, 10.0])
def test_a_white_mask_changes_nothing(soft_edge: float) -> None:
    assert np.array_equal(without_background(photo(), torch.ones(SIDE, SIDE), Background(BLACK, soft_edge)), photo())


def test_nothing_of_the_background_is_seen_whatever_it_is() -> None:
    other = np.where(middle()[..., None].bool().numpy(), photo(), 255 - photo())
    for soft_edge in (0.0, 5.0):
        kept, changed = (without_background(one, middle(), Background(GREY, soft_edge)) for one in (photo(), other))
        assert np.array_equal(kept, changed)


def test_a_softer_edge_fades_further_inwards_step_by_step() -> None:
    white = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    hard, soft, softer = (
        without_background(white, middle(), Background(BLACK, edge))[50, :50, 0].astype(int) for edge in (0, 3, 10)
    )
    assert set(hard) == {0, 255}
    for row, edge in ((soft, 3), (softer, 10)):
        assert (np.diff(row) >= 0).all()
        assert np.count_nonzero((row > 0) & (row < 255)) == edge
    assert np.count_nonzero(softer == 255) < np.count_nonzero(soft == 255) < np.count_nonzero(hard == 255)


def test_a_grey_mask_shows_its_share_of_the_picture() -> None:
    white = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    found = without_background(white, torch.full((SIDE, SIDE), 0.5), Background(BLACK, 0.0))
    assert set(found.flatten()) == {128}


def test_masks_are_as_large_and_as_many_as_the_pictures() -> None:
    images = torch.zeros(3, 40, 60, 3)
    for mask in (torch.eye(5), torch.ones(1, 7, 7), torch.ones(3, 40, 60)):
        assert masks_of(mask, images).shape == (3, 40, 60)
    assert (masks_of(torch.full((1, 9, 9), 0.501), images) == torch.tensor(128 / 255)).all()
