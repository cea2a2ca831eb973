"""What image prompts cost in a call besides its attention: wrappers, and what is looked up or moved for each call."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .sampling import sample
from .timing import mixed, spread

_STEPS = 20
_FIRST = 2  # steps that prepare


def outside(cases: Mapping[str, ModelPatcher], size: int, repeats: int) -> dict[str, float]:
    """Seconds of each case between two calls of the network: the median of many, taken in mixed order."""
    order = random.Random(0)
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name in mixed(cases, order):
            found[name] += between(cases[name], size)
    return {name: spread(seconds).median for name, seconds in found.items()}


def between(model: ModelPatcher, size: int) -> list[float]:
    """Seconds from the end of each call of the network to the next, the network itself taking no time."""
    begun: list[float] = []
    ended: list[float] = []

    def empty(executor: Any, x: Tensor, *given: Any, **more: Any) -> Tensor:
        begun.append(time.perf_counter())
        found = torch.zeros_like(x)
        ended.append(time.perf_counter())
        return found

    sample(model, size, _STEPS, empty)
    return [after - before for before, after in zip(ended, begun[1:], strict=False)][_FIRST:]


def nothing(executor: Any, x: Tensor, *given: Any, **more: Any) -> Tensor:
    """A network that takes no time."""
    return torch.zeros_like(x)
