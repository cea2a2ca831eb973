"""Weights of frames: fades by their formulas, and small cases with the numbers that IPAdapter Plus gives."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.frame_weights import Strategy, combine, prompt_schedule, read_strategy

FORMULAS: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "ease_in_out": lambda x: math.sin(math.pi * x / 2) ** 2,
    "ease_in": lambda x: math.cos(math.pi * (1 - x) / 2),
    "ease_out": lambda x: 1 - math.sin(math.pi * (1 - x) / 2),
}
THIRDS = [1.0, 2 / 3, 1 / 3, 0.0]
SHIFT, ALTERNATE = "shift batches", "alternate batches"


def near(weights: list[float]) -> Any:
    """Equal to 1e-6, with as many numbers."""
    return pytest.approx(weights, abs=1e-6)


@pytest.mark.parametrize("timing", FORMULAS)
@pytest.mark.parametrize("frames", [2, 3, 7, 24])
@pytest.mark.parametrize(
    ("text", "first", "last"), [("1.0, 0.0", 1, 0), (".3\n5, .8", 0.3, 0.8), ("", 0, 1), ("2", 2, 2)]
)
def test_a_fade_follows_its_formula(timing: str, frames: int, text: str, first: float, last: float) -> None:
    expected = [first + (last - first) * FORMULAS[timing](frame / (frames - 1)) for frame in range(frames)]
    assert Strategy(text, timing, frames).fade() == near(expected)


@pytest.mark.parametrize("timing", FORMULAS)
def test_before_start_frame_is_the_first_weight_and_from_end_frame_the_last(timing: str) -> None:
    fade = Strategy(timing=timing, frames=12, start_frame=3, end_frame=9).fade()
    inner = Strategy(timing=timing, frames=6).fade()
    assert fade == near([1.0] * 3 + inner + [0.0] * 3)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (dict(frames=0), [1, 0]),
        (dict(frames=1), [1, 0]),
        (dict(frames=6, start_frame=2, end_frame=5), [1, 1, 1, 0.5, 0, 0]),
        (dict(frames=4, start_frame=6), [1, 1, 1, 1, 1, 0]),
        (dict(frames=5, start_frame=3, end_frame=2), [1, 1, 0, 0, 0, 0]),
        (dict(frames=4, start_frame=4), [1, 1, 1, 0]),
    ],
    ids=str,
)
def test_odd_spans_have_as_many_frames_as_ever(settings: dict[str, int], expected: list[float]) -> None:
    assert Strategy(**settings).fade() == near(expected)


@pytest.mark.parametrize(("start", "end", "expected"), [(1, 2, [1, 0, 0, 0]), (0, 1, [0] * 4), (0, 0, [0] * 4)])
def test_a_change_of_one_frame_or_none_is_at_its_end(start: int, end: int, expected: list[float]) -> None:
    assert Strategy(frames=4, start_frame=start, end_frame=end).fade() == expected


def test_random_weights_lie_between_first_and_last_and_the_other_frames_stand_still() -> None:
    fade = Strategy("0.2, 0.6", "random", 40, start_frame=5, end_frame=30).fade()
    assert fade[:5] == [0.2] * 5 and fade[30:] == [0.6] * 10
    assert len(set(fade[5:30])) == 25
    assert fade[5:30] != sorted(fade[5:30])
    assert all(0.2 <= weight <= 0.6 for weight in fade)


def test_the_retired_timing_has_its_old_numbers() -> None:
    """1 - sin((1 - x)π/2) at the shares x of five frames."""
    old = [1 - math.sin((1 - frame / 4) * math.pi / 2) for frame in range(5)]
    assert Strategy("0, 1", "reverse_in_out", frames=5).fade() == pytest.approx(old)


@pytest.mark.parametrize("timing", ["custom"])
@pytest.mark.parametrize(("text", "expected"), [(".2, .5\n1,", [0.2, 0.5, 1]), ("", [0]), ("-1, 2e-1", [-1, 0.2])])
def test_custom_weights_are_those_that_are_written(timing: str, text: str, expected: list[float]) -> None:
    assert Strategy(text, timing, frames=9, start_frame=2).fade() == expected


@pytest.mark.parametrize(
    ("text", "piece"), [("1, high", "'high'"), ("1;0:2", "'0:2'"), ("nan", "'nan'"), ("1, inf", "'inf'")]
)
@pytest.mark.parametrize("timing", ["custom", "linear"])
def test_a_text_that_is_no_list_of_numbers_is_quoted(text: str, piece: str, timing: str) -> None:
    with pytest.raises(ValueError, match=rf"^Write the weights as numbers such as 1\.0, 0\.0; found {piece}\.$"):
        Strategy(text, timing).spread(2)


@pytest.mark.parametrize("images", [None, 0])
def test_without_images_there_is_one_fade_and_nothing_is_added(images: int | None) -> None:
    spread = Strategy(frames=4, add_starting_frames=2, add_ending_frames=3, method=SHIFT).spread(images)
    assert spread.weights == near(THIRDS)
    assert not spread.first and not spread.second


@pytest.mark.parametrize(
    ("method", "images", "weights", "first", "second"),
    [
        ("full batch", 2, THIRDS * 2, [0] * 4 + [1] * 4, []),
        (SHIFT, 2, THIRDS, [0] * 4, [1] * 4),
        (SHIFT, 3, THIRDS * 2, [0] * 4 + [1] * 4, [1] * 4 + [2] * 4),
        (SHIFT, 1, [], [], []),
        (ALTERNATE, 1, [], [], []),
        (ALTERNATE, 2, THIRDS, [0] * 4, [1] * 4),
        (ALTERNATE, 3, THIRDS + THIRDS[::-1], [0] * 4 + [2] * 4, [1] * 8),
        (ALTERNATE, 4, THIRDS + THIRDS[::-1] + THIRDS, [0] * 4 + [2] * 8, [1] * 8 + [3] * 4),
        (ALTERNATE, 5, (THIRDS + THIRDS[::-1]) * 2, [0] * 4 + [2] * 8 + [4] * 4, [1] * 8 + [3] * 8),
    ],
)
def test_a_method_deals_out_images(
    method: str, images: int, weights: list[float], first: list[int], second: list[int]
) -> None:
    spread = Strategy(frames=4, method=method).spread(images)
    assert spread.weights == near(weights)
    assert (spread.first, spread.second) == (first, second)


def test_the_way_back_is_mirrored_from_greatest_to_zero_as_far_as_the_weights_reach() -> None:
    """Of 0.9, 0.4, 0.2 it is 0.2, 0.7, 0.9: the greatest less the height above the least."""
    spread = Strategy("0.9, 0.4, 0.2", "custom", method=ALTERNATE).spread(3)
    assert spread.weights == near([0.9, 0.4, 0.2, 0.2, 0.7, 0.9])


@pytest.mark.parametrize(
    ("method", "weights", "first", "second"),
    [
        ("full batch", [1, 1, 1, 0, 1, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1, 2, 2, 2], []),
        (SHIFT, [1, 1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2, 2]),
        (ALTERNATE, [1, 1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 2, 2, 2], [0, 0, 1, 1, 1, 1, 2]),
    ],
)
def test_added_frames_hold_the_first_and_the_last_image_on_both_sides(
    method: str, weights: list[float], first: list[int], second: list[int]
) -> None:
    spread = Strategy(frames=2, add_starting_frames=2, add_ending_frames=1, method=method).spread(3)
    assert spread == (weights, first, second)


def test_a_strategy_has_the_keys_that_other_nodes_read_and_comes_back_whole() -> None:
    carried = Strategy("1\n0", "ease_in", 6, 1, 5, 2, 3, ALTERNATE, 4).as_dict()
    assert carried == {
        "weights": "1\n0",
        "timing": "ease_in",
        "frames": 6,
        "start_frame": 1,
        "end_frame": 5,
        "add_starting_frames": 2,
        "add_ending_frames": 3,
        "method": ALTERNATE,
        "frame_count": 4,
    }
    assert read_strategy({**carried, "of another node": 1}) == Strategy(**carried)


@pytest.mark.parametrize(
    ("value", "found"),
    [(None, "NoneType without weights"), ([1.0], "list without weights"), ({"weights": "1"}, "dict without timing")],
)
def test_what_is_no_strategy_is_told(value: object, found: str) -> None:
    with pytest.raises(ValueError, match=f"^Connect weights_strategy to IPAdapter Weights; found {found}, .*[.]$"):
        read_strategy(value)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((0.5, 1.0), [0.5, 1.0]),
        (([0.1, 0.2], 1.0), [0.1, 0.2, 1.0]),
        ((0.5, [0.1, 0.2]), [0.5, 0.1, 0.2]),
        (([], [1.0]), [1.0]),
    ],
)
def test_weights_are_combined_one_after_another(parts: tuple[list[float] | float, ...], expected: list[float]) -> None:
    assert combine(*parts) == expected


@pytest.mark.parametrize(
    ("frames", "before", "after", "images", "text", "expected"),
    [
        (6, 0, 0, 2, "a\nb", '"0": "a",\n"6": "b",\n'),
        (6, 2, 3, 3, 'a\n\n b "q"', '"0": "a",\n"2": "a",\n"8": " b "q"",\n"14": " b "q"",\n"20": " b "q"",\n'),
        (4, 0, 1, 2, "a\nb\nc", '"0": "a",\n"4": "b",\n"8": "b",\n'),
        (0, 0, 0, 2, "a\nb", '"0": "a",\n"0": "b",\n'),
        (6, 2, 3, 3, " \n", ""),
        (6, 2, 3, 0, "a", ""),
    ],
)
def test_a_schedule_has_a_line_for_each_image(
    frames: int, before: int, after: int, images: int, text: str, expected: str
) -> None:
    strategy = Strategy(frames=frames, add_starting_frames=before, add_ending_frames=after, frame_count=images)
    assert prompt_schedule(strategy, text) == expected
