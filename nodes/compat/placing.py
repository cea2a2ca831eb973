"""From what an adapter read to a MODEL that follows it, by the settings of an old node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ...ip_adapter_core.compat.layer_lists import layer_list
from ...ip_adapter_core.compat.words import SECOND_IS_ONE
from ...ip_adapter_core.prompts.combine import Gathering
from ...ip_adapter_core.prompts.prompt import ImagePrompt
from ...ip_adapter_core.settings.layer_weights import LayerWeights, from_weight_type
from ...ip_adapter_core.settings.span import Span
from ..host.adapters import LoadedAdapter
from ..host.sampling import model_patch
from .numbers import Numbers
from .references import References

Weight = float | list[float]
"""One number for all frames, or one for each."""


@dataclass(frozen=True, eq=False)
class Settings:
    """The settings of an old node that places references on a model, in today's words.

    weight: λ; a list has a number for each frame.
    second: of the weight type, absolute; None for its default.
    weight_type: a row of layer_weights.TYPES.
    layers: a list of layer weights in place of it; empty for none.
    combine: a row of combine.COMBINE_MODES.
    per_frame: whether each reference is for a frame of its own.
    shortcut: of FaceID-Plus; None for its default.
    tokens_weight: factor of the tokens that a Kolors adapter gets from the model's projection of texts.
    """

    weight: Weight = 1.0
    second: float | None = None
    weight_type: str = "linear"
    layers: str = ""
    combine: str = "concat"
    scaling: str = "V only"
    start: float = 0.0
    end: float = 1.0
    mask: Tensor | None = None
    per_frame: bool = False
    shortcut: float | None = None
    tokens_weight: float = 1.0

    @property
    def weights(self) -> tuple[float, ...]:
        """λ of each frame; one number where all are alike. Lists are for frames only where references are."""
        if isinstance(self.weight, int | float):
            return (float(self.weight),)
        return tuple(map(float, self.weight if self.per_frame else self.weight[:1])) or (1.0,)


def place(model: Any, adapter: LoadedAdapter, references: References, settings: Settings, numbers: Numbers) -> Any:
    """A MODEL that follows the references. Raises ValueError where adapter, references or settings do not fit it.

    The LoRA of the adapter is left out: the old pack's loader puts it on the model.
    """
    if settings.start > settings.end:
        return model  # the old pack compared both with the step: then it acts in none
    prompt = _prompt(adapter, references, settings, numbers)
    for spread, weights in _spreads(settings):
        options = replace(
            numbers.options,
            layer_weights=spread,
            span=Span(settings.start, settings.end, "percent"),
            scaling=settings.scaling,
            mask=settings.mask,
        )
        model = model_patch.apply(model, _weigh_frames(prompt, weights), options)
    return model


def _prompt(adapter: LoadedAdapter, references: References, settings: Settings, numbers: Numbers) -> ImagePrompt:
    gathering = _gathering(references, settings, numbers)
    uncond = references.uncond
    if numbers.first_negative and gathering.mode.merge:
        uncond = tuple(part[:1] for part in uncond)
    shortcut = settings.weights[0] * 2 if settings.shortcut is None else settings.shortcut
    scales = dict.fromkeys(adapter.identity.variant.scales, shortcut)
    prompt = replace(adapter.prompt(references.cond, uncond, gathering, None, **scales), lora=None)
    return _scale_tokens(prompt, settings.tokens_weight)


def _gathering(references: References, settings: Settings, numbers: Numbers) -> Gathering:
    """How the references become one prompt; one alone is not combined."""
    count = len(references.cond[0])
    together = numbers.combines.get(settings.combine, settings.combine) if count > 1 else "concat"
    return Gathering("one per frame" if settings.per_frame else together).check(count).without(references.gaps)


def _scale_tokens(prompt: ImagePrompt, weight: float) -> ImagePrompt:
    """The prompt with a factor between the model's projection of its tokens and K', V', which are linear in them."""
    make = prompt.make_keys_values
    if make is None or not prompt.awaits_projection or weight == 1.0:
        return prompt
    return replace(prompt, make_keys_values=lambda tokens: make(tokens * weight))


def _spreads(settings: Settings) -> Iterator[tuple[LayerWeights, tuple[float, ...]]]:
    """How the numbers spread over the layers, and a factor for each frame: in one step, or one for each number, where
    they differ from frame to frame."""
    weights, kind = settings.weights, settings.weight_type
    second = 1.0 if settings.second is None and kind in SECOND_IS_ONE else settings.second
    if settings.layers.strip():
        yield layer_list(settings.layers, 1.0, kind), weights
    elif len(weights) == 1:
        yield from_weight_type(kind, weights[0], weights[0] if second is None else second), (1.0,)
    elif second is None:
        yield from_weight_type(kind), weights
    else:
        yield from_weight_type(kind, 1.0, 0.0), weights
        yield from_weight_type(kind, 0.0, second), (1.0,)


def _weigh_frames(prompt: ImagePrompt, weights: tuple[float, ...]) -> ImagePrompt:
    """The prompt with factors for the frames; frames without a reference of their own stay empty."""
    if weights == (1.0,):
        return prompt
    parts = []
    for part in prompt.parts:
        frames = max(len(weights), len(part.weights))
        factors = (weights[min(frame, len(weights) - 1)] for frame in range(frames))
        own = (part.weights[min(frame, len(part.weights) - 1)] for frame in range(frames))
        parts.append(replace(part, weights=tuple(a * b for a, b in zip(factors, own, strict=True))))
    return replace(prompt, parts=tuple(parts))
