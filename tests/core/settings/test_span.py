"""Start and end, in percent and in steps, become the noise levels that they mean."""

import math

import pytest

from comfyui_ip_adapter.ip_adapter_core.settings.span import Span

SIGMAS = [14.6, 8.0, 4.0, 2.0, 1.0, 0.0]  # five steps


def linear(percent: float) -> float:
    """A stand-in for a model's percent_to_sigma, with its two ends."""
    if percent <= 0:
        return 999999999.9
    return 0.0 if percent >= 1 else 14.6 * (1 - percent)


def active(span: Span) -> list[int]:
    reach = span.reach(linear)
    return [step for step, sigma in enumerate(SIGMAS[:-1]) if reach.holds(step, sigma)]


@pytest.mark.parametrize(
    ("span", "steps"),
    [
        (Span(), [0, 1, 2, 3, 4]),
        (Span(0, 0.5), [0, 1]),
        (Span(0.5, 1), [2, 3, 4]),
        (Span(0.4, 0.6), [1]),
        (Span(0, 5, "steps"), [0, 1, 2, 3, 4]),
        (Span(0, 2, "steps"), [0, 1]),
        (Span(2, 4, "steps"), [2, 3]),
        (Span(1, 1, "steps"), []),
        (Span(3, 6, "steps"), [3, 4]),
        (Span(3, 100, "steps"), [3, 4]),
        (Span(6, 6, "steps"), []),
        (Span(7, 9, "steps"), []),
        (Span(1.5, 3, "steps"), [2]),
        (Span(0.2, 1.2, "steps"), [1]),
        (Span(0.0, 0.01, "steps"), [0]),
        (Span(3.01, 4.99, "steps"), [4]),
        (Span(4, 5, "steps"), [4]),
        (Span(4.5, 5, "steps"), []),
    ],
)
def test_a_span_acts_in_its_steps(span: Span, steps: list[int]) -> None:
    assert active(span.check()) == steps


@pytest.mark.parametrize(
    ("span", "empty"),
    [
        (Span(0, 0), True),
        (Span(0.5, 0.5), True),
        (Span(1, 1), True),
        (Span(0.5, 0.51), False),
        (Span(0, 0, "steps"), True),
        (Span(-3, -1, "steps"), True),
        (Span(4.5, 5, "steps"), True),
        (Span(0, 0.01, "steps"), False),
        (Span(7, 9, "steps"), False),  # of a sampling of ten steps it holds two
    ],
)
def test_an_empty_span_acts_in_no_step_of_any_sampling(span: Span, empty: bool) -> None:
    assert span.check().empty is empty


def test_spans_that_meet_cover_every_step_once() -> None:
    first, second = Span(0, 3, "steps"), Span(3, 5, "steps")
    assert sorted(active(first) + active(second)) == [0, 1, 2, 3, 4]


def test_a_part_of_a_step_is_none() -> None:
    assert active(Span(1.5, 3.5, "steps")) == [2, 3]
    assert active(Span(1.2, 1.8, "steps")) == []


def test_steps_do_not_ask_for_the_noise_level_and_percentages_not_for_the_step() -> None:
    assert Span(1, 2, "steps").reach(linear).holds(1, math.nan)
    assert Span(0.5, 1).reach(linear).holds(99, linear(0.5))


def test_in_percent_a_level_at_an_end_is_inside_and_one_beyond_it_is_not() -> None:
    middle = Span(0.25, 0.5).reach(linear)
    for end, beyond in ((linear(0.25), math.inf), (linear(0.5), 0.0)):
        assert middle.holds(0, end)
        assert not middle.holds(0, math.nextafter(end, beyond))


def test_in_steps_the_first_step_is_inside_and_the_end_is_not() -> None:
    found = Span(1, 3, "steps").reach(linear)
    assert [found.holds(step, math.nan) for step in range(4)] == [False, True, True, False]


def test_past_the_last_step_nothing_acts() -> None:
    assert Span(0, 5, "steps").reach(linear).holds(4, 0.0)
    assert not Span(5, 6, "steps").reach(linear).holds(4, 0.0)


def test_only_the_full_percent_range_is_whole() -> None:
    assert Span().whole
    assert Span(-0.0, 1.0).whole
    assert not Span(0, 0.99).whole
    assert not Span(0.01, 1).whole
    assert not Span(0, 1, "steps").whole


@pytest.mark.parametrize(
    ("span", "message"),
    [
        (Span(0.6, 0.4), "start 0.6 is after end 0.4"),
        (Span(0, 1.5), r"Set start and end to 0\.\.1, or choose steps"),
        (Span(-0.1, 1), r"Set start and end to 0\.\.1"),
        (Span(math.nan, 1), "to finite numbers"),
        (Span(0, math.inf, "steps"), "to finite numbers"),
        (Span(0, 1, "frames"), "one of percent, steps"),
    ],
)
def test_spans_that_cannot_be_meant_are_refused(span: Span, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        span.check()
