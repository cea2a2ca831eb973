"""One sampling run: what its guider and its step say, and at what strength each image prompt acts then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from ....ip_adapter_core.attention.application import Application
from ....ip_adapter_core.settings.schedule import SamplingStep
from ....ip_adapter_core.settings.span import percent_at
from . import crops
from .batch import Batch, StepScene
from .cond_sides import CondsByName
from .foreign_attention import Attentions, attentions
from .prepared_layers import ImagesByLayer, PreparedLayers, Strengths
from .steps import Clock, Instant


class Run:
    """What a sampling run knows of its guider and its step; it lives exactly as long as the run.

    applications: the image prompts of the model, in the order they were applied.
    sampling: the model's noise schedule (`percent_to_sigma`, `timestep`).
    sigmas: the run's noise levels, the final one included.
    latent: shape of what is sampled, (pictures, channels, height, width).
    max_calls: how often the sampler calls the model between two callbacks, as `Clock` takes it.
    separate: whether each image prompt stands by itself in every layer, and batches always tell frames and places.
    """

    def __init__(
        self,
        applications: Sequence[Application],
        sampling: Any,
        sigmas: Tensor,
        latent: Sequence[int],
        max_calls: int = 0,
        separate: bool = False,
    ) -> None:
        self.applications = applications
        self.pictures, self.grid = latent[0], (latent[-2], latent[-1])
        self.clock = Clock(sigmas.tolist(), max_calls)
        self.framed = separate or any(application.framed for application in applications)
        self.timed = any(application.timed for application in applications)
        self.masked = separate or any(application.masks for application in applications)
        self.layers = PreparedLayers(
            applications,
            self.pictures,
            framed=self.framed,
            timed=self.timed,
            masked=self.masked,
            grouped=not separate,
        )
        self._sampling, self._to_sigma = sampling, sampling.percent_to_sigma
        self._reaches = [application.span.reach(self._to_sigma) for application in applications]
        self._guider: Callable[[], Any] = lambda: None
        self._picture: Tensor | None = None
        self._last_whole: Tensor | None = None
        self._attentions: dict[Any, Attentions] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        """Itself: packs copy the options that it travels in."""
        return self

    @property
    def conds(self) -> CondsByName:
        """The conds of the guider, by the names that it gives them."""
        return getattr(self._guider(), "conds", {})

    def observe_step(self, guider: Any, x: Tensor) -> None:
        """Take note that a guider is called with the whole noisy picture x of this step."""
        self._guider = ref(guider)
        self.clock.guider_called()
        self._picture = crops.whole_picture(x, self._last_whole, self.grid) if self.masked else x
        if crops.grid_of(x) == self.grid:
            self._last_whole = x

    def batch(
        self, options: Mapping[str, Any], x: Tensor, dtype: torch.dtype, texts: Tensor | None = None
    ) -> Batch | None:
        """The batch of a model call, as `Batch.of` reads it."""
        scene = StepScene(self.pictures, self.conds, self.framed, self._picture if self.masked else None)
        return Batch.of(scene, options, x, dtype, texts)

    def prepare(self, batch: Batch, sigma: Tensor, keep_all: bool) -> ImagesByLayer:
        """What every layer that is patched at this noise level attends to; keep_all as in `PreparedLayers.at`."""
        return self.layers.at(batch, self.strengths(sigma), keep_all, self._timestep(sigma))

    def attentions(self, base: Any) -> Attentions:
        """The cross-attentions of a BaseModel, on each device its own, as they are in this run."""
        if base not in self._attentions:
            patched = {layer for application in self.applications for layer in application.layers}
            self._attentions[base] = attentions(base, patched)
        return self._attentions[base]

    def strengths(self, sigma: Tensor) -> Strengths:
        """What λ of each application is multiplied with at this noise level."""
        if not self.timed:
            return (1.0,) * len(self.applications)  # the noise level need not be read
        now = self.clock.now(sigma)
        step = self._sampling_step(now)
        return tuple(
            application.schedule.strength(step) if application.span.whole or reach.holds(*now) else 0.0
            for application, reach in zip(self.applications, self._reaches, strict=True)
        )

    def _timestep(self, sigma: Tensor) -> float | None:
        """How noisy the picture is, 0..1000; None where no prompt depends on it."""
        if not any(application.network for application in self.applications):
            return None
        return float(self._sampling.timestep(torch.tensor(self.clock.now(sigma).level)))

    def _sampling_step(self, now: Instant) -> SamplingStep:
        return SamplingStep(percent_at(now.level, self._to_sigma), now.step, self.clock.steps)
