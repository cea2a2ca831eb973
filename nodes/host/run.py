"""One sampling run: what image prompts resolve once, and prepared tensors that live no longer than it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...ip_adapter_core.adapter import KeysValues
from ...ip_adapter_core.application import Application
from ...ip_adapter_core.prompt import COND, UNCOND
from ...ip_adapter_core.schedule import SigmaRange

Address = tuple[str, int, int]
Prepared = dict[Address, tuple[KeysValues, ...]]


class Batch(NamedTuple):
    """What prepared tensors must suit: the side of each chunk of a model call's batch, its rows, device and dtype."""

    sides: tuple[int, ...]
    rows: int
    device: torch.device
    dtype: torch.dtype


class Run:
    """What the applications of a model resolve for one sampling run.

    sampling: the model's noise schedule (`percent_to_sigma`); sigmas: the run's noise levels, the final one included.
    """

    def __init__(self, applications: Sequence[Application], sampling: Any, sigmas: Tensor) -> None:
        self.applications = applications
        self._ranges = [_range(application, sampling, sigmas) for application in applications]
        self._sides: dict[Any, int] = {}
        self._prepared: dict[Any, Prepared] = {}

    def learn_sides(self, conds: Mapping[str, Sequence[Mapping[str, Any]] | None]) -> None:
        """Remember which conds of a guider are negative ones; a guider may have three or more."""
        named = [(name, cond["uuid"]) for name, rows in conds.items() for cond in rows or () if "uuid" in cond]
        self._sides = {uuid: UNCOND if "negative" in name else COND for name, uuid in named}

    def batch(self, options: Mapping[str, Any], x: Tensor, dtype: torch.dtype) -> Batch:
        """The batch of a model call; conds that no guider named go by their position, the second being negative."""
        positions = options.get("cond_or_uncond", [COND])
        uuids = options.get("uuids", [None] * len(positions))
        by_position = [UNCOND if position == 1 else COND for position in positions]
        sides = tuple(self._sides.get(uuid, side) for uuid, side in zip(uuids, by_position, strict=True))
        return Batch(sides, len(x), x.device, dtype)

    def prepared(self, batch: Batch, sigma: Tensor, keep: bool) -> Prepared:
        """K' and λ·V' of every layer that is patched at this noise level.

        keep: hold the structure the same at every noise level, with zero values outside a prompt's span.
        """
        active = self._active(sigma)
        if (batch, active, keep) not in self._prepared:
            used = [(used, acts) for used, acts in zip(self.applications, active, strict=True) if acts or keep]
            self._prepared[batch, active, keep] = _merged([_rows(*pair, batch) for pair in used])
        return self._prepared[batch, active, keep]

    def _active(self, sigma: Tensor) -> tuple[bool, ...]:
        if all(span is None for span in self._ranges):
            return (True,) * len(self._ranges)  # nothing to compare: no read of a device value
        level = float(sigma.flatten()[0])
        return tuple(span is None or level in span for span in self._ranges)


def _range(application: Application, sampling: Any, sigmas: Tensor) -> SigmaRange | None:
    """The noise levels an application acts at; None is all of them."""
    span = application.span
    return None if span.whole else span.sigmas(sampling.percent_to_sigma, sigmas.tolist())


def _rows(application: Application, acts: bool, batch: Batch) -> dict[Address, KeysValues]:
    """K' and λ·V' by address, a row per chunk; a row per picture where an application has a prompt for each."""
    chunks = len(batch.sides)
    repeats = 1 if application.prompts == 1 else batch.rows // chunks
    sides = torch.tensor(batch.sides).repeat_interleave(repeats)
    prompts = torch.arange(repeats).repeat(chunks) % application.prompts
    found = {layer.address: application.rows(layer, sides, prompts) for layer in application.layers}
    return {address: _cast(keys, values if acts else values * 0, batch) for address, (keys, values) in found.items()}


def _cast(keys: Tensor, values: Tensor, batch: Batch) -> KeysValues:
    return KeysValues(keys.to(batch.device, batch.dtype), values.to(batch.device, batch.dtype))


def _merged(parts: Sequence[dict[Address, KeysValues]]) -> Prepared:
    """What every application adds to a layer, side by side."""
    addresses = dict.fromkeys(address for part in parts for address in part)
    return {address: tuple(part[address] for part in parts if address in part) for address in addresses}
