"""Checks of what a user chose or wrote, with the one sentence that says what to set instead."""

from __future__ import annotations

import math
from collections.abc import Iterable

from .wording import quoted


def check_choice(name: str, value: object, known: Iterable[str]) -> None:
    """Raises ValueError, with the input's name and all words that are known, for a value that is none of them."""
    words = list(known)
    if value not in words:
        raise ValueError(f"Set {name} to one of {', '.join(words)}; found {quoted(value)}.")


def check_finite(**numbers: float) -> None:
    """Raises ValueError, with its name, for a number that is not finite."""
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise ValueError(f"Set {name} to a finite number such as 0.8; found {number}.")
