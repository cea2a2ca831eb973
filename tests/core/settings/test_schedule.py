"""Schedules: their shapes end where they say, points are read as written, and the node makes the same ones."""

import math
import random
from dataclasses import replace
from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.settings.curves import SHAPES, Curve
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import CONSTANT, SamplingStep, Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.span import percent_at

RAMPS = ["linear", "ease in", "ease out", "ease in-out", "cosine"]
UNITS = ["percent", "steps", "frames"]


def over(course: Curve, many: int) -> list[float]:
    """Its values in each of so many steps or frames, or at as many even places of the noise schedule."""
    schedule = Schedule((course.check(),))
    if course.unit == "frames":
        return [schedule.frame(frame, many) for frame in range(many)]
    return [schedule.strength(SamplingStep(step / max(many - 1, 1), step, many)) for step in range(many)]


def through(points: str, unit: str = "steps", many: int = 5) -> list[float]:
    return over(Curve("points", unit, points=points), many)


# Shapes


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("shape", RAMPS)
@pytest.mark.parametrize("many", [2, 3, 7, 20, 50])
def test_a_ramp_has_exactly_its_start_first_and_its_end_last(shape: str, unit: str, many: int) -> None:
    values = over(Curve(shape, unit, -0.9, 0.05), many)
    assert -0.9 + (0.05 + 0.9) != 0.05  # floats: exact is not a matter of course
    assert (values[0], values[-1]) == (-0.9, 0.05)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    ("shape", "quarters"),
    [
        ("constant", [0, 0, 0, 0, 0]),
        ("linear", [0, 1 / 4, 1 / 2, 3 / 4, 1]),
        ("ease in", [0, 1 / 16, 1 / 4, 9 / 16, 1]),
        ("ease out", [0, 7 / 16, 3 / 4, 15 / 16, 1]),
        ("ease in-out", [0, 1 / 8, 1 / 2, 7 / 8, 1]),
        ("cosine", [0, 0.5 - math.sqrt(1 / 8), 1 / 2, 0.5 + math.sqrt(1 / 8), 1]),
    ],
)
def test_shapes_follow_their_formulas(shape: str, unit: str, quarters: list[float]) -> None:
    assert over(Curve(shape, unit, 0, 1), 5) == pytest.approx(quarters)


@pytest.mark.parametrize(("start", "end"), [(1, 0), (-1, 0.3), (0.3, 5)])
@pytest.mark.parametrize("shape", RAMPS)
def test_a_ramp_never_turns_back(shape: str, start: float, end: float) -> None:
    values = over(Curve(shape, "steps", start, end), 101)
    assert values == sorted(values, reverse=end < start)
    assert len(set(values)) == 101


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "points"])
def test_of_one_step_or_frame_the_start_is_taken(shape: str, unit: str) -> None:
    end = 0.4 if shape == "random" else 1.6
    assert over(Curve(shape, unit, 0.4, end, n=1), 1) == [0.4]


@pytest.mark.parametrize("shape", RAMPS)
def test_between_equal_ends_nothing_moves(shape: str) -> None:
    assert set(over(Curve(shape, "steps", 0.7, 0.7), 30)) == {0.7}


def test_percent_does_not_depend_on_the_step_and_steps_do_not_depend_on_percent() -> None:
    noise, steps = Schedule((Curve("linear", "percent"),)), Schedule((Curve("linear", "steps"),))
    assert {noise.strength(SamplingStep(0.25, step, 9)) for step in range(9)} == {0.75}
    assert {steps.strength(SamplingStep(step / 10, 2, 5)) for step in range(11)} == {0.5}


@pytest.mark.parametrize("unit", ["steps", "frames"])
@pytest.mark.parametrize("n", [0, 1, 3, 8, 100])
def test_the_first_n_have_the_start_and_the_others_the_end(unit: str, n: int) -> None:
    assert over(Curve("first n", unit, 0.9, 0.2, n=n), 8) == ([0.9] * n + [0.2] * 8)[:8]


@pytest.mark.parametrize("n", [0, 1, 29, 57, 99, 100])
def test_over_percent_the_first_n_are_hundredths(n: int) -> None:
    values = over(Curve("first n", "percent", 0.9, 0.2, n=n), 101)
    assert values == [0.9] * min(n, 100) + [0.2] * (100 - n) + values[99:100]


@pytest.mark.parametrize("unit", UNITS)
def test_random_values_lie_between_the_ends_and_differ(unit: str) -> None:
    values = over(Curve("random", unit, 0.5, -0.25), 40)
    assert all(-0.25 <= value <= 0.5 for value in values)
    assert max(values) - min(values) > 0.5
    assert len(set(values)) == 40


def test_a_random_value_depends_on_the_seed_and_its_number_alone() -> None:
    schedule, other = (Schedule((Curve("random", "frames", seed=seed),)) for seed in (1, 2))
    values = [schedule.frame(frame, 40) for frame in range(40)]
    assert [schedule.frame(frame, 999) for frame in reversed(range(40))] == values[::-1]
    assert not {other.frame(frame, 40) for frame in range(40)} & set(values)
    assert values[:2] == pytest.approx([0.041389459, 0.413295935])  # on every machine


def test_random_values_leave_the_random_numbers_of_others_alone() -> None:
    before = random.getstate()
    over(Curve("random"), 10)
    assert random.getstate() == before


# Points


@pytest.mark.parametrize(
    ("points", "values"),
    [
        ("0:1, 4:0", [1, 0.75, 0.5, 0.25, 0]),
        ("0=1;4=0", [1, 0.75, 0.5, 0.25, 0]),
        ("0 : 1\r\n\n4 = 0\n", [1, 0.75, 0.5, 0.25, 0]),
        ("4:0, 0:1", [1, 0.75, 0.5, 0.25, 0]),
        ("1:0.2, 3:0.6", [0.2, 0.2, 0.4, 0.6, 0.6]),
        ("2:.5", [0.5] * 5),
        ("0:1, 2:1, 2:-3, 4:-1,", [1, 1, -3, -2, -1]),
        ("2:-3, 4:-1, 0:1, 2:1", [1, -1, 1, 0, -1]),
        ("0:5, 0:1, 4:0, 4:7", [1, 0.75, 0.5, 0.25, 7]),
        ("0:0, 2:1, 2:50, 2:1, 4:0", [0, 0.5, 1, 0.5, 0]),
        ("0:0, 0.5:1, 1.5:3", [0, 2, 3, 3, 3]),
        ("0:0, 8:8e0", [0, 1, 2, 3, 4]),
        ("0:0 # begins\n8:8 # ends, 4:0", [0, 1, 2, 3, 4]),
    ],
)
@pytest.mark.parametrize("unit", ["steps", "frames"])
def test_points_are_joined_by_lines_and_held_outside(points: str, values: list[float], unit: str) -> None:
    assert through(points, unit) == pytest.approx(values)


def test_over_percent_points_lie_at_fractions() -> None:
    assert through("0:1, 0.5:0.2, 1:0", "percent") == pytest.approx([1, 0.6, 0.2, 0.1, 0])


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("", "Write the points as pairs of position and value such as 0:1, .*; found nothing"),
        (" ,;\n# 0:1", "found nothing"),
        ("0:1, 5", "Write the points as pairs .*; found '5'"),
        ("0:1, 5:", "found '5:'"),
        ("0:1, a:2", "found 'a:2'"),
        ("0:1 5:2", "found '0:1 5:2'"),
        ("0,5:1", "found '0'"),
        ("0:1:2", "found '0:1:2'"),
        ("0:(1.0)", r"found '0:\(1\.0\)'"),
        ("0:nan", "found '0:nan'"),
        ("inf:1", "found 'inf:1'"),
        ("0:1, -1:2", "Count positions from 0: the point '-1:2' lies before the beginning"),
    ],
)
@pytest.mark.parametrize("unit", UNITS)
def test_points_that_cannot_be_read_are_quoted(points: str, message: str, unit: str) -> None:
    with pytest.raises(ValueError, match=message):
        Curve("points", unit, points=points).check()


def test_a_step_number_is_no_fraction() -> None:
    with pytest.raises(ValueError, match="'19:0' lies past the end, which is 1 in percent"):
        Curve("points", "percent", points="0:1, 19:0").check()


def test_points_are_not_read_by_other_shapes() -> None:
    assert Curve("linear", points="nonsense").check() == Curve("linear", points="nonsense")


# Courses and schedules


@pytest.mark.parametrize(
    ("course", "message"),
    [
        (Curve("bump"), "Set shape to one of constant, linear.*; found 'bump'"),
        (Curve("linear", "seconds"), "Set unit to one of percent, steps, frames; found 'seconds'"),
        (Curve("linear", start=math.nan), "Set start_value to a finite number such as 0.8; found nan"),
        (Curve("linear", end=-math.inf), "Set end_value to a finite number such as 0.8; found -inf"),
        (Curve("first n", n=-1), "Set n to 0 or more; found -1"),
    ],
)
def test_courses_that_cannot_be_meant_are_refused(course: Curve, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        course.check()


def test_the_constant_schedule_is_1_everywhere() -> None:
    assert CONSTANT.strength(SamplingStep(0.3, 2, 5)) == CONSTANT.frame(3, 4) == 1.0
    assert not CONSTANT.over_time
    assert not CONSTANT.over_frames


def test_courses_over_time_are_multiplied_and_those_over_frames_apart() -> None:
    schedule = Schedule((Curve("linear", "steps"), Curve("linear", "frames", 2, 0)))
    schedule *= Schedule((Curve("constant", "percent", 0.5), Curve("constant", "frames", -1)))
    assert [schedule.strength(SamplingStep(0.0, step, 3)) for step in range(3)] == [0.5, 0.25, 0]
    assert [schedule.frame(frame, 3) for frame in range(3)] == [-2, -1, 0]


def test_multiplying_leaves_both_schedules_as_they_are() -> None:
    first, second = Schedule((Curve("linear"),)), Schedule((Curve("cosine", "frames"),))
    both = first * second
    assert (len(first.curves), len(second.curves)) == (1, 1)
    assert both == Schedule((Curve("linear"), Curve("cosine", "frames")))
    assert len({first, second, both, first * CONSTANT}) == 3


@pytest.mark.parametrize(
    ("course", "acts"),
    [
        (Curve("linear"), True),
        (Curve("linear", start=1, end=1), False),
        (Curve("constant", start=1, end=0), False),
        (Curve("constant", start=0.9), True),
        (Curve("first n", n=0, start=0, end=1), False),
        (Curve("first n", n=1, start=0, end=1), True),
        (Curve("points", points="0:1, 1:1", end=0), False),
        (Curve("points", points="0:1, 1:1.1", end=1), True),
        (Curve("random", start=1, end=1), False),
        (Curve("random", start=1, end=2), True),
    ],
)
def test_a_schedule_acts_only_where_it_can_differ_from_1(course: Curve, acts: bool) -> None:
    for unit, (time, frames) in {"steps": (acts, False), "percent": (acts, False), "frames": (False, acts)}.items():
        schedule = Schedule((replace(course, unit=unit),))
        assert (schedule.over_time, schedule.over_frames) == (time, frames)


# Noise levels


@pytest.mark.parametrize("percent", [0.001, 0.1, 0.33333, 0.5, 0.9, 0.999])
def test_a_noise_level_is_found_where_it_was_taken(percent: float) -> None:
    assert percent_at(14.6 * (1 - percent), lambda at: 14.6 * (1 - at)) == pytest.approx(percent, abs=1e-4)


@pytest.mark.parametrize(("sigma", "percent"), [(20, 0), (14.6, 0), (1.0, 1), (0.5, 1), (0.0, 1)])
def test_levels_outside_the_schedule_are_at_its_ends(sigma: float, percent: float) -> None:
    def to_sigma(at: float) -> float:
        return 999999999.9 if at <= 0 else 0.0 if at >= 1 else 14.6 - 13.6 * at

    assert percent_at(sigma, to_sigma) == percent


def samplings() -> dict[str, Any]:
    """Models' noise schedules, of ComfyUI itself."""
    from comfy import model_sampling

    class Shifted(model_sampling.ModelSamplingDiscreteFlow):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.set_parameters(shift=3.0)

    return {
        "discrete": model_sampling.ModelSamplingDiscrete(),
        "continuous": model_sampling.ModelSamplingContinuousEDM(),
        "flow": model_sampling.ModelSamplingDiscreteFlow(),
        "shifted flow": Shifted(),
        "flux": model_sampling.ModelSamplingFlux(),
    }


@pytest.mark.usefixtures("comfy")
@pytest.mark.parametrize("name", ["discrete", "continuous", "flow", "shifted flow", "flux"])
def test_levels_of_comfys_schedules_are_found_where_they_were_taken(name: str) -> None:
    sampling = samplings()[name]
    for percent in (0.01, 0.25, 0.5, 0.77, 0.99):
        found = percent_at(float(sampling.percent_to_sigma(percent)), sampling.percent_to_sigma)
        assert found == pytest.approx(percent, abs=1e-4)
    assert percent_at(float(sampling.sigma_max), sampling.percent_to_sigma) == 0
    assert percent_at(0.0, sampling.percent_to_sigma) == 1


# The node


def run(shape: str, unit: str = "steps", points: str = "0:1", n: int = 0, **more: Any) -> Any:
    """What the node gives: a schedule, its picture, and what it shows."""
    from comfyui_ip_adapter.nodes.schedule import Schedule as Node

    output = Node.execute(shape=shape, start_value=0.2, end_value=0.9, unit=unit, points=points, n=n, **more)
    return *output.args, output.ui


@pytest.mark.usefixtures("comfy")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_node_makes_the_schedule_it_is_asked_for(shape: str) -> None:
    found, picture, shown = run(shape, "frames", "0:1, 3:0", 2, random_seed=5)
    assert found == Schedule((Curve(shape, "frames", 0.2, 0.9, 2, "0:1, 3:0", 5),))
    assert picture.shape == (1, 320, 640, 3)
    assert 0 <= picture.min() < picture.max() <= 1
    assert len(shown.as_dict()["images"]) == 1


@pytest.mark.usefixtures("comfy")
def test_the_node_multiplies_with_another_schedule_and_shows_both() -> None:
    first, _, _ = run("linear", "frames")
    both, picture, _ = run("cosine", and_also=first)
    assert both == Schedule((Curve("cosine", "steps", 0.2, 0.9, points="0:1"), *first.curves))
    assert (both.over_time, both.over_frames) == (True, True)
    assert picture.shape == (1, 640, 640, 3)


@pytest.mark.usefixtures("comfy")
def test_the_number_shown_changes_the_picture_but_not_the_schedule() -> None:
    (few, small, _), (many, large, _) = run("linear", shown_over=5), run("linear", shown_over=50)
    assert few == many
    assert not small.equal(large)


@pytest.mark.usefixtures("comfy")
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"points": "0:1, x"}, "found 'x'"),
        ({"points": ""}, "found nothing"),
        ({"points": "0:1, 9:0", "unit": "percent"}, "'9:0' lies past the end"),
        ({"shape": "bump"}, "Set shape to one of constant, .*; found 'bump'"),
        ({"unit": "seconds"}, "Set unit to one of percent, steps, frames; found 'seconds'"),
    ],
)
def test_the_node_refuses_what_cannot_be_read(given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**({"shape": "points"} | given))


@pytest.mark.usefixtures("comfy")
def test_points_that_are_not_used_are_not_judged() -> None:
    assert run("linear", points="x")[0] == Schedule((Curve("linear", "steps", 0.2, 0.9, points="x"),))


@pytest.mark.usefixtures("comfy")
@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [("points", {"points": "x"}, "found 'x'"), ("linear", {"n": -1}, "Set n to 0 or more; found -1")],
)
def test_what_came_by_wire_is_refused_when_the_node_runs(shape: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(shape, **given)
