"""One sampling run: what image prompts resolve once, and prepared tensors that live no longer than it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...ip_adapter_core.adapter import KeysValues
from ...ip_adapter_core.application import Application
from ...ip_adapter_core.prompt import COND, UNCOND
from ...ip_adapter_core.schedule import SigmaRange

Address = tuple[str, int, int]
Prepared = dict[Address, tuple[KeysValues, ...]]


class Run:
    """What the applications of a model resolve for one sampling run.

    sampling: the model's noise schedule (`percent_to_sigma`); sigmas: the run's noise levels, final one included.
    """

    def __init__(self, applications: Sequence[Application], sampling: Any, sigmas: Tensor) -> None:
        self.applications = applications
        self._ranges = [_range(application, sampling, sigmas) for application in applications]
        self._negative: frozenset[Any] = frozenset()
        self._positive: frozenset[Any] = frozenset()
        self._prepared: dict[Any, Any] = {}

    def learn_sides(self, conds: Mapping[str, Sequence[Mapping[str, Any]] | None]) -> None:
        """Remember which conds of a guider are negative ones (a guider may have three or more)."""
        named = [(name, cond["uuid"]) for name, rows in conds.items() for cond in rows or () if "uuid" in cond]
        self._negative = frozenset(uuid for name, uuid in named if "negative" in name)
        self._positive = frozenset(uuid for name, uuid in named if "negative" not in name)

    def prepared(self, options: Mapping[str, Any], x: Tensor, sigma: Tensor, dtype: torch.dtype, keep: bool) -> Prepared:
        """K' and λ·V' of every patched layer for this model call, in the rows of its batch.

        keep: hold the structure the same at every noise level, with zero values outside a prompt's span.
        """
        active = self._active(sigma)
        sides = self._sides(options)
        key = (active, sides, len(x), x.device, dtype, keep)
        if key not in self._prepared:
            self._prepared[key] = _by_address(
                self._rows(index, acts, sides, x, dtype)
                for index, acts in enumerate(active)
                if acts or keep
            )
        return self._prepared[key]

    def _active(self, sigma: Tensor) -> tuple[bool, ...]:
        if all(span is None for span in self._ranges):
            return (True,) * len(self._ranges)  # nothing to compare: no read of a device value
        level = float(sigma.flatten()[0])
        return tuple(span is None or level in span for span in self._ranges)

    def _sides(self, options: Mapping[str, Any]) -> tuple[int, ...]:
        """The side of each chunk of the batch; conds unknown to the guider go by their position."""
        positions = options.get("cond_or_uncond", [0])
        uuids = options.get("uuids", [None] * len(positions))
        return tuple(self._side(uuid, position) for uuid, position in zip(uuids, positions, strict=True))

    def _side(self, uuid: Any, position: int) -> int:
        if uuid in self._negative:
            return UNCOND
        if uuid in self._positive:
            return COND
        return UNCOND if position == 1 else COND

    def _rows(self, index: int, acts: bool, sides: tuple[int, ...], x: Tensor, dtype: torch.dtype) -> dict[Address, KeysValues]:
        application = self.applications[index]
        repeats = 1 if application.prompts == 1 else len(x) // len(sides)
        side = torch.tensor(sides).repeat_interleave(repeats)
        prompt = torch.arange(repeats).repeat(len(sides)) % application.prompts
        rows = {layer.address: application.rows(layer, side, prompt) for layer in application.layers}
        strength = 1.0 if acts else 0.0
        return {a: KeysValues(keys.to(x.device, dtype), (values * strength).to(x.device, dtype)) for a, (keys, values) in rows.items()}


def _range(application: Application, sampling: Any, sigmas: Tensor) -> SigmaRange | None:
    span = application.span
    return None if span.whole else span.sigmas(sampling.percent_to_sigma, sigmas.tolist())


def _by_address(prepared: Any) -> Prepared:
    merged: Prepared = {}
    for rows in prepared:
        for address, keys_values in rows.items():
            merged[address] = (*merged.get(address, ()), keys_values)
    return merged
