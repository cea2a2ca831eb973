"""Each picture stands beside its square, with the cut drawn in; a batch is a sheet of them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.plots.cut_sheet import GAP, LEAST, MOST, TILE, Cut, draw
from comfyui_ip_adapter.ip_adapter_core.plots.drawing import ORANGE, PAPER
from comfyui_ip_adapter.ip_adapter_core.vision.boxes import Box, whole

FRAME, EMPTY = (np.array(tuple(bytes.fromhex(colour[1:]))) / 255 for colour in (ORANGE, PAPER))
MARGIN, FOOT = 12, 36


def plain(level: float, height: int = 64, width: int = 64) -> Tensor:
    return torch.full((height, width, 3), level)


def pixels(cuts: list[Cut]) -> np.ndarray:
    return np.asarray(draw(cuts)).astype(float) / 255


def cell(seen: np.ndarray, number: int, columns: int, tile: int) -> tuple[np.ndarray, np.ndarray]:
    """The tiles of a picture and of its square."""
    row, column = divmod(number, columns)
    left, top = MARGIN + column * (2 * tile + 3 * GAP), MARGIN + row * (tile + 2 * GAP)
    picture, square = (seen[top : top + tile, begin : begin + tile] for begin in (left, left + tile + GAP))
    return picture, square


def test_one_picture_stands_beside_its_square() -> None:
    seen = pixels([Cut(plain(0.8), Box(16, 0, 48, 32), plain(0.4, 8, 8))])
    assert seen.shape == (2 * MARGIN + TILE, 2 * MARGIN + 2 * TILE + GAP, 3)
    picture, square = cell(seen, 0, 1, TILE)
    assert np.allclose(square, 0.4, atol=0.01)
    scale = TILE // 64
    inside = picture[2 : 32 * scale - 2, 16 * scale + 2 : 48 * scale - 2]
    assert np.allclose(inside, 0.8, atol=0.01)
    for dark in (picture[:, : 16 * scale], picture[:, 48 * scale :], picture[32 * scale :]):
        assert dark.max() < 0.8 / 2


@pytest.mark.parametrize("box", [Box(16, 8, 48, 40), Box(0, 0, 10, 10), Box(63, 63, 64, 64), whole(64, 64)])
def test_the_frame_lies_on_the_edge_of_the_box(box: Box) -> None:
    picture, _ = cell(pixels([Cut(plain(0.8), box, plain(0.4))]), 0, 1, TILE)
    rows, columns = np.nonzero(np.isclose(picture, FRAME, atol=0.01).all(axis=-1))
    scale = TILE // 64
    assert (columns.min(), rows.min()) == (box.left * scale, box.top * scale)
    assert (columns.max() + 1, rows.max() + 1) == (box.right * scale, box.bottom * scale)


@pytest.mark.parametrize(("height", "width"), [(30, 90), (90, 30), (1, 50), (700, 500)])
def test_a_picture_of_any_shape_lies_in_the_middle_of_its_tile(height: int, width: int) -> None:
    picture, _ = cell(pixels([Cut(plain(0.8, height, width), whole(width, height), plain(0.4))]), 0, 1, TILE)
    rows, columns = np.nonzero(~np.isclose(picture, EMPTY, atol=0.01).all(axis=-1))
    for places, length in ((rows, height), (columns, width)):
        assert abs(places.min() - (TILE - 1 - places.max())) <= 1
        assert places.max() + 1 - places.min() <= max(2, TILE * length / max(height, width) + 1)


@pytest.mark.parametrize(("count", "columns", "tile"), [(2, 1, 256), (3, 2, 256), (9, 3, 200), (48, 5, 120)])
def test_a_batch_is_a_sheet_row_by_row(count: int, columns: int, tile: int) -> None:
    seen = pixels([Cut(plain(1.0), whole(64, 64), plain(number / count, tile, tile)) for number in range(count)])
    assert tile >= LEAST
    for number in range(count):
        _, square = cell(seen, number, columns, tile)
        assert np.allclose(square, number / count, atol=0.01), number


def test_pictures_of_other_sizes_and_with_other_channels_share_a_sheet() -> None:
    pictures = [plain(0.5, 30, 90), torch.full((90, 30, 4), 0.5), torch.full((5, 5, 1), 0.5)]
    assert draw([Cut(one, whole(one.shape[1], one.shape[0]), plain(0.4, 8, 8)) for one in pictures]).mode == "RGB"


def test_of_very_many_pictures_the_first_are_shown_and_the_others_counted() -> None:
    one = Cut(plain(1.0, 8, 8), whole(8, 8), plain(0.4, 8, 8))
    full, more = pixels([one] * MOST), pixels([one] * (MOST + 15))
    assert more.shape[0] == full.shape[0] + FOOT
    assert np.array_equal(more[: len(full)], full)
    assert more[len(full) - MARGIN :].max() > 0.8  # letters
