"""Tests of ip_adapter_core/vision/scores.py: cosines by their definition, their means, and their table."""

from math import isnan

import pytest
import torch
from torch.nn.functional import cosine_similarity

from comfyui_ip_adapter.ip_adapter_core.vision.scores import Scores, cosines, read_texts


def embeds(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)) * 5


def test_cosines_are_those_of_the_definition() -> None:
    pictures, others = embeds(3, 0), embeds(2, 1)
    found = cosines(pictures, others)
    for row, picture in enumerate(pictures):
        for column, other in enumerate(others):
            assert float(found[row, column]) == pytest.approx(float(cosine_similarity(picture, other, dim=0)), abs=1e-6)


def test_the_same_picture_is_1_the_opposite_is_minus_1_and_no_length_counts() -> None:
    one = embeds(1, 0)
    assert cosines(one, torch.cat([3 * one, -one])).tolist() == [[pytest.approx(1), pytest.approx(-1)]]
    assert cosines(one.half(), one.bfloat16()).item() == pytest.approx(1, abs=1e-2)


def test_means_are_over_the_whole_table_and_no_number_without_one() -> None:
    scores = Scores(clip_t=torch.tensor([[0.1, 0.2], [0.3, 0.6]]), texts=("a", "b"))
    assert isnan(scores.means[0])
    assert scores.means[1] == pytest.approx(0.3)


def test_the_table_has_a_row_for_each_picture_and_the_means_below() -> None:
    scores = Scores(torch.tensor([[0.5], [1.0]]), torch.tensor([[0.1, -0.2], [0.3, 0.4]]), ("a cat", "a | b"))
    assert scores.markdown().splitlines() == [
        "| picture | reference 1 | a cat | a \\| b |",
        "| --- | ---: | ---: | ---: |",
        "| 1 | 0.5000 | 0.1000 | -0.2000 |",
        "| 2 | 1.0000 | 0.3000 | 0.4000 |",
        "| mean | 0.7500 | 0.2000 | 0.1000 |",
    ]


def test_texts_are_the_lines_that_are_not_blank() -> None:
    assert read_texts("  a cat \r\n\n\t\na dog") == ("a cat", "a dog")
    assert read_texts("\n ") == ()
