"""Settings of a training: its learning rate over time, and which values are refused."""

from dataclasses import replace
from typing import Any

import pytest

from training.parts import QUICK, run


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    settings = replace(QUICK, steps=10, warmup=4, decay=True, learning_rate=1.0)
    rates = [settings.rate_at(step) for step in range(10)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] < 0.1
    seen: list[float] = []
    run(replace(settings, learning_rate=0.01), on_step=lambda step: seen.append(step.rate))
    assert seen == pytest.approx([rate * 0.01 for rate in rates])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, "Set steps to a whole number from 1.*; found 0"),
        ({"learning_rate": float("nan")}, "Set learning_rate .*; found nan"),
        ({"drop_text": -0.1}, "Set drop_text to a share.*; found -0.1"),
        ({"drop_text": 0.5, "drop_image": 0.4, "drop_both": 0.2}, "add up to more than 1"),
        ({"ema": 1.0}, "never learns"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        run(replace(QUICK, **change))
