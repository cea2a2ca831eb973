"""Where a square is cut: around a mask it holds all that is white, stays inside, and is a square where one can be."""

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.vision.boxes import Box, around_mask, whole

HEIGHT, WIDTH = 60, 100


def white_on(place: Box, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    mask = torch.zeros(height, width)
    mask[place.top : place.bottom, place.left : place.right] = 1
    return mask


@pytest.mark.parametrize(
    ("place", "margin", "box"),
    [
        (Box(40, 20, 50, 30), 0, Box(40, 20, 50, 30)),
        (Box(40, 20, 50, 30), 10, Box(39, 19, 51, 31)),
        (Box(40, 20, 60, 30), 0, Box(40, 15, 60, 35)),  # as high as it is wide
        (Box(40, 20, 60, 30), 25, Box(35, 10, 65, 40)),  # of the longer side
        (Box(0, 20, 10, 30), 50, Box(0, 15, 20, 35)),  # shifted inside at an edge
        (Box(90, 50, 100, 60), 50, Box(80, 40, 100, 60)),
        (Box(40, 20, 50, 30), 1000, Box(15, 0, 75, 60)),  # no larger than a square of the picture
        (Box(10, 20, 90, 30), 0, Box(10, 0, 90, 60)),  # longer than the short side: no square holds it
        (Box(10, 20, 90, 30), 10, Box(10, 0, 90, 60)),
    ],
)
def test_the_box_lies_around_what_is_white(place: Box, margin: float, box: Box) -> None:
    assert around_mask(white_on(place), margin) == box
    turned = (Box(one.top, one.left, one.bottom, one.right) for one in (place, box))
    mask, wanted = next(turned), next(turned)
    assert around_mask(white_on(mask, WIDTH, HEIGHT), margin) == wanted


@pytest.mark.parametrize("seed", range(40))
def test_any_box_holds_what_is_white_and_stays_inside(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    height, width, top, left, margin = torch.randint(1, 60, (5,), generator=generator).tolist()
    mask = torch.zeros(height, width)
    mask[top % height :, left % width :][:7, :11] = 1
    box = around_mask(mask, margin)
    assert mask[box.top : box.bottom, box.left : box.right].sum() == mask.sum()
    assert box.left >= 0 <= box.top
    assert box.right <= width
    assert box.bottom <= height
    longest = max(int(mask.any(axis).sum()) for axis in (0, 1))
    assert (box.width == box.height) == (longest <= min(height, width))


def test_what_is_faint_beside_the_subject_does_not_count() -> None:
    mask = white_on(Box(40, 20, 50, 30)) * 0.8
    mask[0, 0] = 0.3
    mask[22, 50] = 0.4
    assert around_mask(mask) == Box(40, 19, 51, 30)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (9, 5), (5, 9)])
def test_a_white_mask_and_one_without_white_are_the_whole_picture(height: int, width: int) -> None:
    for level in (0.0, 1.0):
        assert around_mask(torch.full((height, width), level), 20) == whole(width, height)
