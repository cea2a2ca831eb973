"""What fills the borders of a picture that is not square."""

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.vision.borders import FILLINGS, Border, squared

each_filling = pytest.mark.parametrize("filling", FILLINGS)


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_every_filling_is_tried_here() -> None:
    assert set(FILLINGS) == {"plain", "mirrored", "blurred"}


@each_filling
@pytest.mark.parametrize(("height", "width"), [(20, 51), (51, 20), (1, 5), (1, 40), (30, 30)])
def test_the_picture_stands_unchanged_in_the_middle(filling: str, height: int, width: int) -> None:
    picture = photo(height, width)
    found, side = squared(picture, Border(filling)), max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    assert found.shape == (side, side, 3)
    assert np.array_equal(found[top : top + height, left : left + width], picture)


@each_filling
def test_a_square_has_no_borders(filling: str) -> None:
    assert np.array_equal(squared(photo(30, 30), Border(filling, (1.0, 0.0, 0.0))), photo(30, 30))


@pytest.mark.parametrize("filling", ["mirrored", "blurred"])
def test_the_borders_of_one_colour_are_of_that_colour(filling: str) -> None:
    picture = np.full((12, 40, 3), (200, 90, 7), dtype=np.uint8)
    assert np.array_equal(squared(picture, Border(filling)), np.full((40, 40, 3), (200, 90, 7), dtype=np.uint8))


def test_mirrored_borders_are_the_picture_turned_over() -> None:
    picture = photo(20, 60)
    assert np.array_equal(squared(picture, Border("mirrored")), np.concatenate([picture[::-1], picture, picture[::-1]]))


def test_a_symmetric_picture_stays_symmetric_and_goes_on_in_mirrored_borders() -> None:
    half = photo(10, 50)
    picture = np.concatenate([half, half[::-1]])
    found = squared(picture, Border("mirrored"))
    assert np.array_equal(found, found[::-1])
    assert np.array_equal(found, np.concatenate([picture[5:], picture, picture[:15]]))  # periodic


def test_blurred_borders_are_mirrored_ones_with_less_detail() -> None:
    picture = photo(20, 60)
    mirrored, blurred = (squared(picture, Border(filling))[:20].astype(float) for filling in ("mirrored", "blurred"))
    assert np.abs(mirrored.mean(axis=(0, 1)) - blurred.mean(axis=(0, 1))).max() < 10
    assert blurred.std() < mirrored.std() / 4


def test_plain_borders_have_their_colour_and_the_others_do_not_read_it() -> None:
    picture = photo(20, 60)
    assert (squared(picture, Border("plain", (1.0, 0.0, 0.2)))[:20] == (255, 0, 51)).all()
    for filling in ("mirrored", "blurred"):
        assert np.array_equal(squared(picture, Border(filling, (1.0, 0.0, 0.2))), squared(picture, Border(filling)))


@each_filling
def test_even_borders_are_alike_and_may_lack_a_pixel(filling: str) -> None:
    found = squared(photo(20, 51), Border(filling), even=True)
    assert found.shape == (50, 51, 3)
    assert np.array_equal(found[15:35], photo(20, 51))


def test_the_given_picture_stays_as_it_is() -> None:
    for filling in FILLINGS:
        for width in (30, 50):
            picture = photo(30, width)
            squared(picture, Border(filling))[:] = 0
            assert np.array_equal(picture, photo(30, width))
