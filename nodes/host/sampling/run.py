"""One sampling run: what image prompts resolve once, and prepared tensors that live no longer than it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor

from ....ip_adapter_core.attention.application import Application
from ....ip_adapter_core.attention.grouped import GroupedKV, ImageKV, MasksByGrid, group_images, join_masks
from ....ip_adapter_core.settings.schedule import SamplingStep
from ....ip_adapter_core.settings.span import percent_at
from . import crops
from .batch import Batch, Contents, Scene
from .cache import RunCache
from .cond_sides import Named
from .foreign_attention import Attentions, attentions
from .prepared import Address, PreparedPrompt, masks_of
from .steps import Clock, Instant

# How many values of a run stay on each device. Where frames differ, keys and values are large, and windows come and go:
# then only those of one window, cond and uncond. Masks are small, and there is one for each area or tile.
_KEPT, _KEPT_OF_FRAMES, _KEPT_MASKS = 4, 2, 64

Prepared = dict[Address, tuple[ImageKV | GroupedKV, ...]]
Strengths = tuple[float, ...]


class _Layers(NamedTuple):
    """What all layers attend to at some strengths, wherever it acts; whole: those too that do not act then."""

    strengths: Strengths
    whole: bool
    prepared: Prepared


class Run:
    """What the applications of a model resolve for one sampling run.

    sampling: the model's noise schedule (`percent_to_sigma`); sigmas: the run's noise levels, the final one included;
    latent: shape of what is sampled, (pictures, channels, height, width); calls: of the sampler, as `Clock` takes it.
    """

    def __init__(
        self,
        applications: Sequence[Application],
        sampling: Any,
        sigmas: Tensor,
        latent: Sequence[int],
        calls: int = 0,
    ) -> None:
        self.applications = applications
        self.pictures, self.grid = latent[0], (latent[-2], latent[-1])
        self.clock = Clock(sigmas.tolist(), calls)
        self._guider: Callable[[], Any] = lambda: None
        self._to_sigma = sampling.percent_to_sigma
        self._reaches = [application.span.reach(self._to_sigma) for application in applications]
        self._prompted = {layer for application in applications for layer in application.layers}
        self._heads = {layer.address: layer.heads for layer in self._prompted}
        self._whole: Tensor | None = None
        self._last: Tensor | None = None
        self._attentions: dict[Any, Attentions] = {}
        kept = _KEPT_OF_FRAMES if self.framed else _KEPT
        self._rows: RunCache[Contents, list[PreparedPrompt]] = RunCache(kept)
        self._layers: RunCache[Contents, _Layers] = RunCache(kept)
        self._masks: RunCache[Batch, list[MasksByGrid | None]] = RunCache(_KEPT_MASKS)

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        """Itself: packs copy the options that it travels in."""
        return self

    @property
    def held(self) -> tuple[Any, ...]:
        """What it keeps of keys and values."""
        return self._rows.values, self._layers.values

    @property
    def framed(self) -> bool:
        """Whether the prompts say different things to different frames."""
        return any(application.framed for application in self.applications)

    @property
    def timed(self) -> bool:
        """Whether any prompt acts differently at different steps."""
        return any(application.timed for application in self.applications)

    @property
    def masked(self) -> bool:
        """Whether any prompt acts only somewhere."""
        return any(application.masks for application in self.applications)

    @property
    def named(self) -> Named:
        """The conds of the guider by their names, which it keeps for itself."""
        return getattr(self._guider(), "conds", {})

    def observe_step(self, guider: Any, x: Tensor) -> None:
        """A guider is called with the whole noisy picture of this step."""
        self._guider = ref(guider)
        self.clock.called()
        self._whole = crops.whole_of(x, self._last, self.grid) if self.masked else x
        if crops.grid_of(x) == self.grid:
            self._last = x

    def batch(
        self, options: Mapping[str, Any], x: Tensor, dtype: torch.dtype, texts: Tensor | None = None
    ) -> Batch | None:
        """The batch of a model call, as `Batch.of` finds it."""
        scene = Scene(self.pictures, self.named, self.framed, self._whole if self.masked else None)
        return Batch.of(scene, options, x, dtype, texts)

    def prepared(self, batch: Batch, sigma: Tensor, keep: bool) -> Prepared:
        """What every layer that is patched at this noise level attends to.

        keep: hold the structure the same at every noise level, with zero values where a prompt does not act.
        """
        prepared = self._of(batch.contents(self.framed), self.strengths(sigma), keep)
        if not self.masked:
            return prepared
        masks = self._masks.get(batch, lambda: [masks_of(each, batch, self.pictures) for each in self.applications])
        of_owners = cache(lambda owners: join_masks([masks[owner] for owner in owners]))
        return {
            address: tuple(image._replace(masks=of_owners(image.owners)) for image in images)
            for address, images in prepared.items()
        }

    def attentions(self, base: Any) -> Attentions:
        """The cross-attentions of a BaseModel, on each device its own, as they are in this run."""
        if base not in self._attentions:
            self._attentions[base] = attentions(base, self._prompted)
        return self._attentions[base]

    def strengths(self, sigma: Tensor) -> Strengths:
        """What λ of each application is multiplied with at this noise level."""
        if not self.timed:
            return (1.0,) * len(self.applications)  # nothing to compare
        now = self.clock.now(sigma)
        moment = self._moment(now)
        return tuple(
            application.schedule.strength(moment) if application.span.whole or reach.holds(*now) else 0.0
            for application, reach in zip(self.applications, self._reaches, strict=True)
        )

    def _moment(self, now: Instant) -> SamplingStep:
        return SamplingStep(percent_at(now.level, self._to_sigma), now.step, self.clock.steps)

    def _of(self, contents: Contents, strengths: Strengths, keep: bool) -> Prepared:
        found = self._layers.get(
            contents,
            lambda: _Layers(strengths, keep, self._prepare(contents, strengths, keep)),
            lambda known: known[:2] == (strengths, keep),
        )
        return found.prepared

    def _prepare(self, contents: Contents, strengths: Strengths, keep: bool) -> Prepared:
        images: dict[Address, list[ImageKV]] = {}
        for number, (rows, strength) in enumerate(zip(self._rows_of(contents), strengths, strict=True)):
            for address, found in (rows.at(strength) if strength or keep else {}).items():
                images.setdefault(address, []).extend(image._replace(owners=(number,)) for image in found)
        return {address: self.group(found, self._heads[address]) for address, found in images.items()}

    def _rows_of(self, contents: Contents) -> list[PreparedPrompt]:
        """Tensors that hold at every noise level; kept only where levels differ."""

        def made() -> list[PreparedPrompt]:
            return [PreparedPrompt(application, contents, self.pictures) for application in self.applications]

        return self._rows.get(contents, made) if self.timed else made()

    def group(self, images: Sequence[ImageKV], heads: int) -> tuple[ImageKV | GroupedKV, ...]:
        """The images of a layer in the form that is computed fastest on the batch's device."""
        return group_images(images, heads)
