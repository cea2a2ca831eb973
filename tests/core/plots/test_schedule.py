"""Tests of ip_adapter_core/plots/schedule.py: what the picture of a schedule shows is where its values are."""

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.plots.drawing import BLUE, PAPER
from comfyui_ip_adapter.ip_adapter_core.plots.schedule import SIZE, draw
from comfyui_ip_adapter.ip_adapter_core.settings.curves import SHAPES, Curve
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import CONSTANT, Schedule

DOT, EMPTY = (tuple(bytes.fromhex(colour[1:])) for colour in (BLUE, PAPER))
WIDTH, HEIGHT = SIZE


def pixels(*courses: Curve, many: int = 12) -> np.ndarray:
    return np.asarray(draw(Schedule(courses), many)).astype(int)


def runs(columns: np.ndarray) -> list[np.ndarray]:
    """Neighbouring columns together."""
    return np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1) if len(columns) else []


def dots(picture: np.ndarray) -> np.ndarray:
    """Centres of the dots, (dots, x and y), from left to right."""
    seen = (np.abs(picture - DOT) < 12).all(axis=-1)
    groups = runs(np.flatnonzero(seen.any(axis=0)))
    return np.array([(group.mean(), np.nonzero(seen[:, group])[0].mean()) for group in groups])


def height_of(value: float) -> float:
    """Where a value between 0 and 1 is drawn."""
    return dots(pixels(Curve("constant", start=value)))[0, 1]


@pytest.mark.parametrize("unit", ["steps", "frames"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("many", [2, 12, 30])
def test_each_step_has_a_dot_where_its_value_is(shape: str, unit: str, many: int) -> None:
    course = Curve(shape, unit, 0.9, 0.1, n=5, points="0:0.2, 6:1, 6:0.5, 30:0", seed=2)
    found = dots(pixels(course, many=many))
    bottom, top = height_of(0), height_of(1)
    assert len(found) == many
    assert np.diff(found[:, 0]) == pytest.approx([(found[-1, 0] - found[0, 0]) / (many - 1)] * (many - 1), abs=1)
    values = [course.value(step, many) for step in range(many)]
    assert (found[:, 1] - bottom) / (top - bottom) == pytest.approx(values, abs=0.01)


def test_values_outside_0_to_1_fit_in_and_move_the_others() -> None:
    found = dots(pixels(Curve("linear", start=3, end=-1), many=5))[:, 1]
    assert found == pytest.approx(np.linspace(height_of(1), height_of(0), 5), abs=1)


def test_the_last_dot_is_at_the_right_however_many_there_are() -> None:
    few, more = (dots(pixels(Curve("constant"), many=many)) for many in (2, 12))
    assert few[[0, -1]] == pytest.approx(more[[0, -1]], abs=0.5)


def test_a_single_step_is_a_single_dot() -> None:
    ((_, height),) = dots(pixels(Curve("linear"), many=1))
    assert height == pytest.approx(height_of(1), abs=0.5)


def test_over_percent_there_is_a_line_without_dots() -> None:
    seen = (np.abs(pixels(Curve("linear", "percent")) - DOT) < 12).all(axis=-1)
    rows, columns = np.nonzero(seen)
    heights = np.array([rows[columns == column].mean() for column in sorted(set(columns))])
    assert len(heights) > 500
    assert (np.diff(heights) > -1).all()
    assert (heights[0], heights[-1]) == pytest.approx((height_of(1), height_of(0)), abs=2)
    assert np.bincount(columns).max() <= 4


def test_each_unit_has_a_panel_that_looks_as_it_does_alone() -> None:
    courses = (Curve("cosine", "frames"), Curve("linear", "steps"), Curve("ease in", "percent"))
    found = np.split(pixels(*courses), 3)
    for panel, course in zip(found, courses[::-1], strict=True):
        assert np.array_equal(panel, pixels(course))


def test_over_the_same_unit_the_dots_are_on_the_product() -> None:
    found = dots(pixels(Curve("constant", start=0.5), Curve("linear")))
    assert found[:, 1] == pytest.approx(np.linspace(height_of(0.5), height_of(0), 12), abs=1)


def test_over_the_same_unit_every_course_is_seen() -> None:
    alone, beside = pixels(Curve("linear")), pixels(Curve("linear"), Curve("constant"))
    changed = (alone != beside).any(axis=-1)[45:280]
    assert changed[:, 300].sum() >= 3
    assert np.array_equal(dots(alone), dots(beside))


def test_a_schedule_of_nothing_is_drawn_as_1() -> None:
    assert np.array_equal(np.asarray(draw(CONSTANT, 12)), pixels(Curve("constant")))


def test_the_picture_says_how_many_there_are() -> None:
    heading = [pixels(Curve("constant"), many=many)[:40] for many in (20, 21)]
    assert not np.array_equal(*heading)


@pytest.mark.parametrize("many", [1, 2, 1000])
@pytest.mark.parametrize("unit", ["percent", "steps", "frames"])
@pytest.mark.parametrize(("start", "end"), [(0, 0), (1, 1), (-5, 5), (1e-9, 0), (1e9, -1e9)])
def test_every_schedule_is_drawn(unit: str, many: int, start: float, end: float) -> None:
    assert draw(Schedule((Curve("linear", unit, start, end),)), many).size == SIZE


def test_nothing_is_drawn_over_the_edge() -> None:
    picture = pixels(Curve("random", start=-5, end=5), many=300)
    edge = np.concatenate([picture[:2].reshape(-1, 3), picture[:, :2].reshape(-1, 3), picture[:, -2:].reshape(-1, 3)])
    assert (edge == EMPTY).all()
