"""The picture of a transition: what it draws is each image's share, and every transition can be drawn."""

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.plots import transition as plot
from comfyui_ip_adapter.ip_adapter_core.plots.drawing import SERIES
from comfyui_ip_adapter.ip_adapter_core.prompts.transitions import Transition

FIRST, SECOND = (tuple(bytes.fromhex(colour[1:])) for colour in SERIES[:2])
PLANE = slice(50, None)  # rows below the legend


def heights(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The middle of a line in each column of the picture in which it is seen, from left to right."""
    rows, columns = np.nonzero((picture == colour).all(axis=-1))
    return np.array([rows[columns == column].mean() for column in sorted(set(columns))])


def test_one_image_falls_while_the_other_rises() -> None:
    picture = np.asarray(plot.draw(Transition(16).check(2)))[PLANE]
    leaving, coming = heights(picture, FIRST), heights(picture, SECOND)
    assert leaving[-1] > leaving[0] + 100  # rows count from the top
    assert coming[-1] < coming[0] - 100


@pytest.mark.parametrize("images", [2, 3, 9])
@pytest.mark.parametrize("loop", [False, True])
def test_the_weights_that_are_drawn_add_up_to_one_in_every_frame(images: int, loop: bool) -> None:
    checked = Transition(16, loop=loop).check(images)
    weights = plot._weights(checked)
    assert len(weights) == images
    assert np.allclose(np.sum(weights, axis=0), 1)
    assert plot.draw(checked).mode == "RGB"


def discs(picture: np.ndarray, colour: tuple[int, int, int]) -> list[float]:
    """Middles of the marks of an image: where its colour covers as many rows of a column as a disc is high."""
    high = (picture == colour).all(axis=-1).sum(axis=0) >= 18
    edges = np.flatnonzero(np.diff(np.concatenate([[0], high.astype(int), [0]])))
    middles = [(left + right) / 2 for left, right in edges.reshape(-1, 2)]
    return [middle for number, middle in enumerate(middles) if number == 0 or middle - middles[number - 1] > 20]


def test_every_image_is_marked_where_it_acts_alone_and_the_first_once_more_where_a_loop_returns() -> None:
    once, round_again = (
        np.asarray(plot.draw(Transition(16, keys, loop=loop).check(3)))[PLANE][:40]
        for keys, loop in (((0, 5, 10), False), ((0, 5, 10), True))
    )
    assert [len(discs(once, colour)) for colour in (FIRST, SECOND)] == [1, 1]
    assert [len(discs(round_again, colour)) for colour in (FIRST, SECOND)] == [2, 1]
    assert discs(round_again, FIRST)[1] > 580


def test_a_mark_touches_no_number_of_the_axis() -> None:
    picture = np.asarray(plot.draw(Transition(16).check(2)))
    left = np.flatnonzero((picture == FIRST).all(axis=-1)[PLANE].any(axis=0)).min()
    assert left > 62 + 2  # the axis, behind which the numbers end


@pytest.mark.parametrize("images", [2, 40])
def test_the_legend_shows_images_in_their_colours_and_keeps_off_the_heading(images: int) -> None:
    top = np.asarray(plot.draw(Transition(99).check(images)))[: PLANE.start]
    seen = [np.flatnonzero((top == colour).all(axis=-1).any(axis=0)) for colour in (FIRST, SECOND)]
    assert seen[0].min() < seen[1].min()
    coloured = (np.ptp(top.astype(int), axis=-1) > 60).any(axis=0)
    assert np.flatnonzero(coloured).max() < 470  # the heading begins behind it
