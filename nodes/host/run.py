"""One sampling run: what image prompts resolve once, and prepared tensors that live no longer than it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...ip_adapter_core.application import Application
from ...ip_adapter_core.curves import Moment, percent_at
from ...ip_adapter_core.prompt import COND, UNCOND
from ...ip_adapter_core.schedule import SigmaRange
from ...ip_adapter_core.stacks import Image, Stack, stacked
from .batches import Batch
from .rows import Address, Rows
from .steps import StepOf

# Batches of a run whose tensors stay on the device. Where frames differ, they are large, and windows come and go: then
# only those of one window, cond and uncond.
_KEPT, _KEPT_OF_FRAMES = 4, 2

Prepared = dict[Address, tuple[Image | Stack, ...]]
Strengths = tuple[float, ...]


class Run:
    """What the applications of a model resolve for one sampling run.

    sampling: the model's noise schedule (`percent_to_sigma`); sigmas: the run's noise levels, the final one included;
    latent: shape of what is sampled, (pictures, channels, height, width); step_of: how steps are told by counting.
    """

    def __init__(
        self,
        applications: Sequence[Application],
        sampling: Any,
        sigmas: Tensor,
        latent: Sequence[int],
        step_of: StepOf | None = None,
    ) -> None:
        self.applications = applications
        self.pictures, self.grid = latent[0], (latent[-2], latent[-1])
        self._to_sigma = sampling.percent_to_sigma
        self._levels: list[float] = sigmas.tolist()
        self._ranges = [self._range(application) for application in applications]
        self._heads = {layer.address: layer.heads for application in applications for layer in application.layers}
        self._step_of, self._calls = step_of, 0
        self._sides: dict[Any, int] = {}
        self._whole: Tensor | None = None
        self._prepared: OrderedDict[Batch, tuple[Strengths, Prepared]] = OrderedDict()
        self._rows: OrderedDict[Batch, list[Rows]] = OrderedDict()

    @property
    def framed(self) -> bool:
        """Whether any prompt says different things to different frames."""
        return any(
            application.framed or any(len(mask) > 1 for mask in application.masks) for application in self.applications
        )

    @property
    def masked(self) -> bool:
        """Whether any prompt acts only somewhere."""
        return any(application.masks for application in self.applications)

    def learn(self, conds: Mapping[str, Sequence[Mapping[str, Any]] | None], x: Tensor) -> None:
        """Remember which conds of a guider are negative ones, of which it may have three or more, and the whole picture
        of this step, so that parts of it can be found in it."""
        named = [(name, cond["uuid"]) for name, rows in conds.items() for cond in rows or () if "uuid" in cond]
        self._sides = {uuid: UNCOND if "negative" in name else COND for name, uuid in named}
        self._whole = x
        self._calls += 1

    def batch(self, options: Mapping[str, Any], x: Tensor, dtype: torch.dtype) -> Batch:
        """The batch of a model call, as far as prompts depend on it."""
        return Batch.of(self, options, x, dtype)

    def sides(self, options: Mapping[str, Any]) -> tuple[int, ...]:
        """The side of each chunk; conds that no guider named go by their position, the second being negative."""
        positions = options.get("cond_or_uncond", [COND])
        uuids = options.get("uuids", [None] * len(positions))
        by_position = [UNCOND if position == 1 else COND for position in positions]
        return tuple(self._sides.get(uuid, side) for uuid, side in zip(uuids, by_position, strict=True))

    @property
    def whole(self) -> Tensor | None:
        """The whole noisy picture of this step, where a guider showed it."""
        return self._whole

    def prepared(self, batch: Batch, sigma: Tensor, keep: bool) -> Prepared:
        """What every layer that is patched at this noise level attends to.

        keep: hold the structure the same at every noise level, with zero values where a prompt does not act.
        """
        strengths = self.strengths(sigma)
        known, found = self._prepared.get(batch, (None, {}))
        if known != strengths:
            found = self._prepare(batch, strengths, keep)
            _remember(self._prepared, batch, (strengths, found))
        return found

    def strengths(self, sigma: Tensor) -> Strengths:
        """What λ of each application is multiplied with at this noise level."""
        if not any(application.timed for application in self.applications):
            return (1.0,) * len(self.applications)  # nothing to compare
        level = self._level(sigma)
        moment = self._moment(level)
        return tuple(
            application.schedule.strength(moment) if span is None or level in span else 0.0
            for application, span in zip(self.applications, self._ranges, strict=True)
        )

    def _level(self, sigma: Tensor) -> float:
        """The noise level that strengths go by: of the step where steps are counted, which asks the device nothing."""
        if self._step_of is None or not self._calls:
            return float(sigma.flatten()[0])
        return self._levels[min(self._step_of(self._calls - 1), len(self._levels) - 2)]

    def _moment(self, level: float) -> Moment:
        """The step that began at this noise level, or last above it."""
        steps = len(self._levels) - 1
        step = sum(level <= begins for begins in self._levels[:steps]) - 1
        return Moment(percent_at(level, self._to_sigma), max(step, 0), steps)

    def _range(self, application: Application) -> SigmaRange | None:
        """The noise levels an application acts at; None is all of them."""
        span = application.span
        return None if span.whole else span.sigmas(self._to_sigma, self._levels)

    def _prepare(self, batch: Batch, strengths: Strengths, keep: bool) -> Prepared:
        used = [(rows, strength) for rows, strength in zip(self._of(batch), strengths, strict=True) if strength or keep]
        merged = _merged([rows.at(strength) for rows, strength in used])
        return {address: self.stacked(images, self._heads[address], batch) for address, images in merged.items()}

    def stacked(self, images: Sequence[Image], heads: int, batch: Batch) -> tuple[Image | Stack, ...]:
        """The images of a layer in the form that is computed fastest on the batch's device."""
        return stacked(images, heads)

    def _of(self, batch: Batch) -> list[Rows]:
        """Tensors of a batch that hold at every noise level; kept only where levels differ."""
        if batch in self._rows:
            return self._rows[batch]
        made = [Rows(application, batch, self.pictures, self.grid) for application in self.applications]
        if any(application.timed for application in self.applications):
            _remember(self._rows, batch, made)
        return made


def _merged(parts: Sequence[dict[Address, list[Image]]]) -> dict[Address, tuple[Image, ...]]:
    """What every application adds to a layer, side by side."""
    addresses = dict.fromkeys(address for part in parts for address in part)
    return {address: tuple(image for part in parts for image in part.get(address, ())) for address in addresses}


def _remember(kept: OrderedDict[Batch, Any], batch: Batch, value: Any) -> None:
    """Keep a value of a batch, and of the latest few others."""
    kept[batch] = value
    kept.move_to_end(batch)
    while len(kept) > (_KEPT_OF_FRAMES if batch.frames else _KEPT):
        kept.popitem(last=False)
