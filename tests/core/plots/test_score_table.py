"""Tests of ip_adapter_core/plots/score_table.py: cells that are light where numbers are high."""

import numpy as np
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.plots.drawing import lines, thumbnail, width
from comfyui_ip_adapter.ip_adapter_core.plots.heat_map import colours
from comfyui_ip_adapter.ip_adapter_core.plots.score_table import MOST_COLUMNS, MOST_ROWS, draw
from comfyui_ip_adapter.ip_adapter_core.vision.scores import Scores

MARGIN, SIDE, TOP, COLUMN, ROW = 20, 176, 48, 144, 120


def plain(count: int, level: float = 0.5) -> Tensor:
    return torch.full((count, 16, 24, 3), level)


def pixels(scores: Scores, pictures: Tensor, references: Tensor | None = None) -> np.ndarray:
    return np.asarray(draw(scores, pictures, references)).astype(float) / 255


def cell(seen: np.ndarray, row: int, column: int) -> np.ndarray:
    """The colour at the edge of a cell, where no number stands."""
    return seen[MARGIN + TOP + (row + 1) * ROW + 4, MARGIN + SIDE + column * COLUMN + 4]


def test_each_measure_goes_from_its_least_to_its_highest() -> None:
    scores = Scores(torch.tensor([[0.5], [0.9]]), torch.tensor([[0.1, 0.2], [0.3, 0.1]]), ("a", "b"))
    seen = pixels(scores, plain(2), plain(1))
    wanted = [[0.0, 0.0, 0.5], [1.0, 1.0, 0.0]]
    for row, tones in enumerate(wanted):
        for column, tone in enumerate(tones):
            assert np.allclose(cell(seen, row, column), colours(np.array(tone)), atol=0.01), (row, column)


def test_equal_numbers_have_the_colour_of_the_middle() -> None:
    seen = pixels(Scores(torch.full((2, 2), 0.7)), plain(2), plain(2))
    assert np.allclose(cell(seen, 1, 1), colours(np.array(0.5)), atol=0.01)


def test_pictures_and_references_are_seen_beside_and_above() -> None:
    seen = pixels(Scores(torch.eye(2)), plain(2, 0.2), plain(2, 0.6))
    beside = seen[MARGIN + TOP + ROW + ROW // 2, MARGIN + (SIDE + 16) // 2]
    above = seen[MARGIN + TOP + ROW // 2, MARGIN + SIDE + COLUMN // 2]
    assert np.allclose(beside, 0.2, atol=0.01)
    assert np.allclose(above, 0.6, atol=0.01)


def test_a_text_is_written_above_its_column() -> None:
    scores = Scores(clip_t=torch.zeros(1, 1), texts=("a red apple on a very blue table " * 4,))
    head = pixels(scores, plain(1))[MARGIN + TOP : MARGIN + TOP + ROW, MARGIN + SIDE :]
    assert (head > 0.7).any()


def test_what_is_too_much_is_counted_and_not_drawn() -> None:
    few = draw(Scores(torch.zeros(MOST_ROWS, MOST_COLUMNS)), plain(MOST_ROWS), plain(MOST_COLUMNS))
    many = Scores(torch.zeros(MOST_ROWS + 5, MOST_COLUMNS + 1), torch.zeros(MOST_ROWS + 5, 2), ("a", "b"))
    drawn = draw(many, plain(MOST_ROWS + 5), plain(MOST_COLUMNS + 1))
    assert (drawn.width, drawn.height) == (few.width, few.height + TOP)
    assert (np.asarray(drawn)[-MARGIN - TOP :] < 200).any()


def test_lines_are_broken_at_blanks_and_cut_where_they_are_too_long() -> None:
    broken = lines("one two three four five six seven eight", 60, 16, most=3)
    assert len(broken) == 3
    assert broken[-1].endswith("…")
    assert all(width(line, 16) <= 60 for line in broken)
    assert lines("short", 60, 16, most=3) == ["short"]
    assert lines("x" * 90, 60, 16, most=3)[0].endswith("…")


def test_a_thumbnail_keeps_its_shape_and_enlarges_by_whole_pixels() -> None:
    large, small, grey = torch.rand(50, 200, 3), torch.rand(3, 2, 4), torch.rand(8, 8, 1)
    assert thumbnail(large, 100).size == (100, 25)
    assert thumbnail(small, 10).size == (6, 9)
    assert np.asarray(thumbnail(grey, 8)).shape == (8, 8, 3)
    assert np.array_equal(np.asarray(thumbnail(small, 10))[::3, ::3], (small[..., :3] * 255).round().byte().numpy())
