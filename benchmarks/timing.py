"""Repeats in mixed order, and what is said of them: medians of paired differences and ratios, with quartiles."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

Clock = Callable[[], float]


class Spread(NamedTuple):
    """The middle of repeats: median, and the lower and upper quartile."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of repeats. Raises ValueError when there are none."""
    if not values:
        raise ValueError("Nothing was measured; ask for at least one repeat.")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def differences(with_it: Sequence[float], without: Sequence[float]) -> list[float]:
    """What it adds in each repeat; the two of a repeat were measured next to each other."""
    return [a - b for a, b in zip(with_it, without, strict=True)]


def ratios(these: Sequence[float], those: Sequence[float]) -> list[float]:
    """How many times as much in each repeat."""
    return [a / b for a, b in zip(these, those, strict=True)]


def mixed(names: Iterable[str], order: random.Random) -> list[str]:
    """The names in an order of their own, so that none always comes first, or always after the same one."""
    found = list(names)
    order.shuffle(found)
    return found


def interleaved(
    actions: Mapping[str, Callable[[], object]], repeats: int, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each action in each repeat, every repeat in another order; one more comes first and is not counted."""
    order = random.Random(0)
    found: dict[str, list[float]] = {name: [] for name in actions}
    for repeat in range(repeats + 1):
        for name in mixed(actions, order):
            begun = clock()
            actions[name]()
            if repeat:
                found[name].append(clock() - begun)
    return found
