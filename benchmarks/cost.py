"""The time that image prompts add to a call of a UNet: at its attention sites, and around the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from comfy.model_patcher import ModelPatcher

from .outside import outside
from .settings import Settings
from .sites import in_call
from .timing import differences, spread


class Cost(NamedTuple):
    """Seconds that each case adds in each repeat; those of the calls; those that each adds around the network alone."""

    added: dict[str, list[float]]
    calls: list[float]
    around: dict[str, float]

    @property
    def shares(self) -> dict[str, list[float]]:
        """What each case adds, in percent of the median call."""
        call = spread(self.calls).median
        return {name: [100 * seconds / call for seconds in values] for name, values in self.added.items()}


def cost(model: ModelPatcher, cases: Mapping[str, ModelPatcher], settings: Settings) -> Cost:
    """What every case adds to the first one, which is the plain model."""
    plain, *others = cases
    timed = in_call(model, cases, settings.size, settings.repeats)
    around = outside(cases, settings.size, settings.brief)
    wrapped = {name: around[name] - around[plain] for name in others}
    added = {
        name: [seconds + wrapped[name] for seconds in differences(timed.cases[name], timed.cases[plain])]
        for name in others
    }
    return Cost(added, timed.calls, wrapped)


def conditions(settings: Settings, what: str = "SD1.5") -> str:
    """At what sizes the calls were measured, in words."""
    return f"{what}, {settings.size} px, batch 2, fp32, {threads()}"


def threads() -> str:
    """With how many threads the processor computes, in words."""
    count = torch.get_num_threads()
    return f"{count} thread{'s' * (count > 1)}"
