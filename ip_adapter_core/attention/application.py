"""One use of an image prompt on one model: which layers, how strongly, when and where. Immutable values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from ..adapters.keys_values import KeysValues
from ..adapters.lora import LoraUse
from ..layers.families import describe
from ..layers.layout import Geometry, Layer
from ..prompts.prompt import COND, UNCOND, ImagePrompt, PromptPart
from ..settings.layer_weights import LINEAR, LayerWeights
from ..settings.masks import usable
from ..settings.schedule import CONSTANT, Schedule
from ..settings.span import WHOLE, Span
from .scaling import SCALINGS


@dataclass(frozen=True, eq=False)
class ApplyOptions:
    """How a prompt is to be used: what the user sets on the node that applies it.

    weight: λ; scaling: a row of SCALINGS; mask (masks, height, width): where in the picture, one for all frames or one
    for each; lora_strength: of what the adapter brings, None where the user says nothing of it; skip_middle: leave out
    the middle block, as a pack does that never reached it.
    """

    weight: float = 1.0
    span: Span = WHOLE
    layer_weights: LayerWeights = LINEAR
    schedule: Schedule = CONSTANT
    scaling: str = "V only"
    mask: Tensor | None = None
    lora_strength: float | None = None
    skip_middle: bool = False

    def check(self) -> ApplyOptions:
        """This use, or ValueError when a number, the scaling or the span cannot be meant."""
        for name, number in (("weight", self.weight), ("lora_strength", self.lora_strength)):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"The {name} is {number}; it must be a finite number such as 0.8.")
        if self.scaling not in SCALINGS:
            raise ValueError(f"There is no scaling called {self.scaling!r}; use one of {', '.join(SCALINGS)}.")
        self.span.check()
        return self


class LayerTerm(NamedTuple):
    """What one layer adds: K' and V' (rows, tokens, inner) at λ, and the side that each side of a batch reads.

    reads[side] is None where that side gets nothing.
    """

    kv: KeysValues
    weight: float
    source_cond: tuple[int | None, int | None]


_POSITIVE = (COND, UNCOND)
_TO_NEGATIVE = (None, COND)  # negative rows read what positive rows would, which pushes away


@dataclass(frozen=True, eq=False)
class Application:
    """A part of a prompt on a model: what each patched layer adds, when and where.

    masks: where it acts, all of them together. lora: what the adapter adds to the model's own weights, in all of the
    sampling, whatever the weight.
    """

    part: PromptPart
    layers: dict[Layer, tuple[LayerTerm, ...]]
    span: Span
    schedule: Schedule = CONSTANT
    scaling: str = "V only"
    masks: tuple[Tensor, ...] = ()
    lora: LoraUse | None = None

    @cached_property
    def framed(self) -> bool:
        """Whether its frames differ in what they read or how strongly."""
        return self.part.frames > 1 or len(self.part.weights) > 1 or self.schedule.over_frames

    @property
    def images(self) -> int:
        """How many images stand under its softmax."""
        return self.part.images

    @property
    def timed(self) -> bool:
        """Whether it acts differently at different steps."""
        return not self.span.whole or self.schedule.over_time

    def frame_weight(self, frame: int, frames: int) -> float:
        """What λ is multiplied with in this frame of so many."""
        weights = self.part.weights
        return weights[min(frame, len(weights) - 1)] * self.schedule.frame(frame, frames)


def applications(
    prompt: ImagePrompt, layers: tuple[Layer, ...], context: int, use: ApplyOptions | None = None
) -> tuple[Application, ...]:
    """The prompt on a model with these layers: one application for each part, none that has nothing to do.

    Raises ValueError when the adapter was made for another model, or when the use cannot be meant.
    """
    use = (use or ApplyOptions()).check()
    _check_fit(prompt.identity.geometry, Geometry(context, tuple(layer.width for layer in layers)))
    made = [_application(part, layers, use) for part in prompt.parts]
    found = [application for application in made if application]
    if not (found and prompt.lora):
        return tuple(found)
    first, *others = found
    return (replace(first, lora=prompt.lora.bind(layers, use.lora_strength)), *others)


def _application(part: PromptPart, layers: tuple[Layer, ...], use: ApplyOptions) -> Application | None:
    masks = _masks((*part.masks, *(() if use.mask is None else (use.mask,))))
    terms = _terms(part, layers, use)
    if masks is None or not terms or not any(part.weights):
        return None
    return Application(part, terms, use.span, use.schedule, use.scaling, masks)


def _terms(part: PromptPart, layers: tuple[Layer, ...], use: ApplyOptions) -> dict[Layer, tuple[LayerTerm, ...]]:
    """What is added to each layer that has a weight."""
    shares = use.layer_weights.per_layer(layers)
    found = {}
    for layer, image in zip(layers, part.keys_values, strict=True):
        if use.skip_middle and layer.stage == "middle":
            continue
        share = shares[layer]
        pairs = ((use.weight * share.positive, _POSITIVE), (use.weight * share.to_negative, _TO_NEGATIVE))
        terms = tuple(LayerTerm(image, weight, reads) for weight, reads in pairs if weight)
        if terms:
            found[layer] = terms
    return found


def _masks(given: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
    """The masks that leave something out; None where one leaves nothing."""
    kept = [mask for mask in map(usable, given) if mask is not None]
    return None if any(not mask.any() for mask in kept) else tuple(kept)


def _check_fit(adapter: Geometry, model: Geometry) -> None:
    if adapter != model:
        raise ValueError(
            f"This adapter is for {describe(adapter)}; the model is {describe(model)}. "
            "Load an adapter made for this model, or the model this adapter is for."
        )
