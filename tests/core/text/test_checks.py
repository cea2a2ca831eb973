"""What a user chose or wrote, where it is none of what is known."""

import math

import pytest

from comfyui_ip_adapter.ip_adapter_core.text.checks import check_choice, check_finite


def test_a_known_word_passes_and_another_is_told_with_those_that_are() -> None:
    check_choice("fit", "pad", {"pad": 1, "squash": 2})
    with pytest.raises(ValueError, match=r"^Set fit to one of pad, squash; found 'crop'\.$"):
        check_choice("fit", "crop", {"pad": 1, "squash": 2})


@pytest.mark.parametrize("value", [None, 5, ["pad"]])
def test_what_is_no_word_is_told_alike(value: object) -> None:
    with pytest.raises(ValueError, match=r"^Set fit to one of pad; found "):
        check_choice("fit", value, ["pad"])


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_told_by_its_name(number: float) -> None:
    check_finite(weight=0.5, second_weight=-1.0)
    with pytest.raises(ValueError, match=rf"^Set second_weight to a finite number such as 0\.8; found {number}\.$"):
        check_finite(weight=0.5, second_weight=number)
