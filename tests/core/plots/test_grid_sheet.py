"""Tests of ip_adapter_core/plots/grid_sheet.py: every cell in its place, with its labels, and the references beside."""

import numpy as np
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.plots.drawing import PAPER
from comfyui_ip_adapter.ip_adapter_core.plots.grid_sheet import TILE, Label, Labels, draw

EMPTY = np.array(tuple(bytes.fromhex(PAPER[1:]))) / 255
MARGIN, GAP, HEAD, SIDE, REFERENCE, THUMBNAIL = 24, 12, 48, 200, 168, 152


def plain(level: float, height: int = 64, width: int = 64) -> Tensor:
    return torch.full((height, width, 3), level)


def pixels(cells: list[Tensor], labels: Labels) -> np.ndarray:
    return np.asarray(draw(cells, labels)).astype(float) / 255


def named(*words: str) -> list[Label]:
    return [Label(word) for word in words]


def test_every_cell_lies_in_its_row_and_column() -> None:
    levels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    seen = pixels([plain(level) for level in levels], Labels(named("a", "b", "c"), named("d", "e")))
    for number, level in enumerate(levels):
        row, column = divmod(number, 3)
        top, left = MARGIN + HEAD + row * (TILE + GAP), MARGIN + SIDE + column * (TILE + GAP)
        assert np.allclose(seen[top : top + TILE, left : left + TILE], level, atol=0.01), number
    assert seen.shape[:2] == (MARGIN * 2 + HEAD + 2 * (TILE + GAP) - GAP, MARGIN * 2 + SIDE + 3 * (TILE + GAP) - GAP)


def test_a_single_cell_stands_alone() -> None:
    assert draw([plain(0.5)], Labels()).size == (2 * MARGIN + TILE, 2 * MARGIN + TILE)


def test_labels_are_written_above_and_at_the_side_also_long_ones() -> None:
    long = "weight type strong style and composition of everything there is in the whole world"
    seen = pixels([plain(1.0)] * 4, Labels(named("weight 0", long), named("seed 1", long)))
    above, beside = seen[: MARGIN + HEAD], seen[MARGIN + HEAD :, : MARGIN + SIDE]
    for part in (above[:, MARGIN + SIDE : -TILE], above[:, -TILE:], beside[:TILE], beside[TILE:]):
        assert ((part > 0.7) & (part < 0.99)).all(axis=-1).any()  # letters, which are lighter than paper
    assert np.allclose(seen[:, -MARGIN + GAP :], EMPTY)


def test_a_columns_reference_stands_under_its_label() -> None:
    seen = pixels([plain(1.0)] * 2, Labels([Label("reference 1", plain(0.3)), Label("reference 2", plain(0.7))]))
    top = MARGIN + HEAD + THUMBNAIL // 2
    assert np.allclose(seen[top, MARGIN + TILE // 2], 0.3, atol=0.01)
    assert np.allclose(seen[top, MARGIN + TILE + GAP + TILE // 2], 0.7, atol=0.01)


def test_shared_references_stand_at_the_right_and_what_has_no_room_is_counted() -> None:
    few, many = (torch.stack([plain(0.3)] * count) for count in (2, 9))
    one, other = (pixels([plain(1.0)], Labels(references=references)) for references in (few, many))
    assert one.shape == other.shape == (2 * MARGIN + TILE, 2 * MARGIN + TILE + REFERENCE, 3)
    middle = MARGIN + TILE + GAP + (REFERENCE - GAP) // 2
    assert np.allclose(one[MARGIN + 40, middle], 0.3, atol=0.01)
    assert (other[-MARGIN - HEAD - 60 :, middle - 30 : middle + 30] > 0.7).any()
    assert np.allclose(other[-MARGIN:], EMPTY)  # no reference is cut off
    assert not np.array_equal(one, other)


def test_large_cells_are_made_smaller_in_their_shape() -> None:
    assert draw([plain(0.5, 768, 1536)], Labels()).size == (2 * MARGIN + TILE, 2 * MARGIN + TILE // 2)
