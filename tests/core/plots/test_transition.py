"""The picture of a transition: what it draws is each image's share, and every transition can be drawn."""

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.plots import transition as plot
from comfyui_ip_adapter.ip_adapter_core.prompts.transitions import Transition

BLUE, ORANGE = (31, 95, 168), (224, 129, 43)  # of the first image and of the second


def heights(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """The middle of a line in each column of the picture in which it is seen, from left to right."""
    rows, columns = np.nonzero((picture == colour).all(axis=-1))
    return np.array([rows[columns == column].mean() for column in sorted(set(columns))])


def test_one_image_falls_while_the_other_rises() -> None:
    picture = np.asarray(plot.draw(Transition(16).check(2)))
    leaving, coming = heights(picture, BLUE), heights(picture, ORANGE)
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
