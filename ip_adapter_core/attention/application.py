"""One use of an image prompt on one model: which layers, how strongly, when and where. Immutable values.

In a layer, a step, a frame and a pixel, the image attention of a prompt part is multiplied with

    λ · layer weight · schedule(step) · schedule(frame) · frame or image weight · mask

    λ, layer weight         ApplyOptions.weight, ApplyOptions.layer_weights   _terms: LayerTerm.weight
    schedule(step)          Application.schedule.strength                     asked at every step of the sampling
    schedule(frame)         Application.schedule.frame                        Application.frame_weight
    frame or image weight   PromptPart.weights                                Application.frame_weight
    mask                    ApplyOptions.mask, PromptPart.masks               the result of the attention

`scaling.scale_kv` puts the product of all but the mask into K' and V'. Images that share a softmax have weights
relative to each other; those enter the softmax as PromptPart.attn_bias.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..adapters.keys_values import KeysValues
from ..adapters.lora import LoraUse
from ..adapters.variants import Variant
from ..layers.families import describe
from ..layers.layout import Geometry, Layer
from ..prompts.prompt import COND, UNCOND, ImagePrompt, PromptPart, TimedNetwork
from ..settings.layer_weights import LINEAR, LayerWeight, LayerWeights, act_nowhere
from ..settings.masks import usable
from ..settings.schedule import CONSTANT, Schedule
from ..settings.span import WHOLE, Span
from ..settings.weight_list import names_in
from ..text.checks import check_choice, check_finite
from .balance import BALANCES, OFF
from .projection import AUTO, METHODS, NEUTRAL
from .scaling import SCALINGS


@dataclass(frozen=True, eq=False)
class ApplyOptions:
    """What the user sets on the node that applies a prompt.

    weight: λ.
    span: the part of the sampling in which the prompt acts.
    layer_weights: how λ spreads over the layers.
    schedule: how λ changes over steps and frames.
    scaling: how λ enters K' and V', a row of SCALINGS.
    mask: where in the picture it acts, (masks, height, width), one for all frames or one for each.
    lora_strength: strength of the adapter's LoRA; None when the user does not set it.
    skip_middle: whether the middle block is left out, as in another pack that never reached it.
    mean_of_each: whether a scaling with a mean takes it over the tokens of each image, as there.
    point_masks: whether masks are read at points in place of over cells, and may leave 0..1, as there.
    balance: how what is added is held against the text, a row of BALANCES.
    method: how far it is turned away from the text, a row of METHODS, or AUTO for what the adapter's kind is used with.
    """

    weight: float = 1.0
    span: Span = WHOLE
    layer_weights: LayerWeights = LINEAR
    schedule: Schedule = CONSTANT
    scaling: str = "V only"
    mask: Tensor | None = None
    lora_strength: float | None = None
    skip_middle: bool = False
    mean_of_each: bool = False
    point_masks: bool = False
    balance: str = OFF
    method: str = AUTO

    def check(self) -> ApplyOptions:
        """These options. Raises ValueError when a number, the scaling, the balance, the method or the span is not
        valid."""
        check_finite(weight=self.weight)
        if self.lora_strength is not None:
            check_finite(lora_strength=self.lora_strength)
        check_choice("scaling", self.scaling, SCALINGS)
        check_choice("balance", self.balance, BALANCES)
        check_choice("method", self.method, (AUTO, *METHODS))
        self.span.check()
        return self


SourceCond = tuple[int | None, int | None]
"""For COND and UNCOND rows of a batch, the side of a prompt that they read; None for nothing."""


class LayerTerm(NamedTuple):
    """What is added to one layer.

    kv: K' and V', (rows, tokens, inner); empty where they are made at each noise level.
    weight: λ times the layer's weight.
    source_cond: what the rows of a batch read.
    number: of the layer in adapter order.
    """

    kv: KeysValues
    weight: float
    source_cond: SourceCond
    number: int = 0


_MADE_LATER = KeysValues(torch.empty(0), torch.empty(0))
_POSITIVE = (COND, UNCOND)
_ONE_SIDED = (COND, None)
_TO_NEGATIVE = (None, COND)  # the cond tokens on negative rows push the result away from the image


EmbedTime = Callable[[Any, float, torch.device, torch.dtype], Tensor]
"""(the host's model that is called, timestep, device, dtype of its inference) -> its embedding, (1, time)."""


class Applied(NamedTuple):
    """A prompt and what the user set when it was applied: what applications are made of, all that one prompt makes."""

    prompt: ImagePrompt
    options: ApplyOptions


@dataclass(frozen=True, eq=False)
class Application:
    """A part of a prompt on a model.

    part: the tokens with their K' and V'.
    layers: what is added to each layer; layers of weight 0 are left out.
    span: when the part acts.
    schedule: how its strength changes over steps and frames.
    scaling: a row of SCALINGS.
    masks: where it acts, (frames, height, width) each; their product counts.
    lora: what the adapter adds to the model's own weights, in every step and at any λ.
    mean_of_each, point_masks, balance: as in ApplyOptions.
    method: a row of METHODS.
    network: makes K' and V' at each noise level; None where they hold at all of them.
    embed_time: what the model makes of a noise level, where the network reads that.
    applied: what it was made of, so that another prompt can take its place.
    """

    part: PromptPart
    layers: dict[Layer, tuple[LayerTerm, ...]]
    span: Span
    schedule: Schedule = CONSTANT
    scaling: str = "V only"
    masks: tuple[Tensor, ...] = ()
    lora: LoraUse | None = None
    mean_of_each: bool = False
    point_masks: bool = False
    balance: str = OFF
    method: str = NEUTRAL
    network: TimedNetwork | None = None
    embed_time: EmbedTime | None = None
    applied: Applied | None = None

    @cached_property
    def framed(self) -> bool:
        """Whether frames read different tokens or have different strengths."""
        return self.part.frames > 1 or len(self.part.weights) > 1 or self.schedule.over_frames

    @property
    def images(self) -> int:
        """Number of images that share its softmax."""
        return self.part.images

    @property
    def timed(self) -> bool:
        """Whether its strength changes from step to step."""
        return not self.span.whole or self.schedule.over_time

    def frame_weight(self, frame: int, frames: int) -> float:
        """The factor of λ in one of `frames` frames: the weight of the frame's image times its schedule."""
        weights = self.part.weights
        return weights[min(frame, len(weights) - 1)] * self.schedule.frame(frame, frames)


def applications(
    prompt: ImagePrompt, layers: tuple[Layer, ...], context: int, options: ApplyOptions | None = None
) -> tuple[Application, ...]:
    """The prompt on a model with these layers: one application for each part; a part without effect is left out.

    context: width of the model's text tokens. options: by default λ = 1 everywhere. Raises ValueError when the adapter
    was made for another model, when the options are not valid, or when the layer weights leave nothing of a weight that
    is not 0.
    """
    options = (options or ApplyOptions()).check()
    _check_fit(prompt.identity.geometry, Geometry(context, tuple(layer.width for layer in layers)))
    method = method_for(prompt.identity.variant, options.method)
    positive = _ONE_SIDED if prompt.identity.variant.one_sided else _POSITIVE
    per_part = (_application(part, layers, options, positive) for part in prompt.parts)
    effective = tuple(replace(one, method=method, network=prompt.timed) for one in per_part if one)
    if not (effective and prompt.lora):
        return effective
    first, *others = effective
    return (replace(first, lora=prompt.lora.use_on(layers, options.lora_strength)), *others)


def method_for(variant: Variant, wanted: str) -> str:
    """The row of METHODS that a prompt of this kind is applied with; wanted: a row, or AUTO.

    Raises ValueError for a method that turns, where the kind was not trained for any.
    """
    if variant.method is None and wanted not in (AUTO, NEUTRAL):
        raise ValueError(
            f'Set method to "{AUTO}"; "{wanted}" is for adapters of PuLID, and this image prompt is of kind '
            f"{variant.name}."
        )
    return wanted if wanted != AUTO else variant.method or NEUTRAL


def _application(
    part: PromptPart, layers: tuple[Layer, ...], options: ApplyOptions, positive: SourceCond
) -> Application | None:
    masks = _masks((*part.masks, *(() if options.mask is None else (options.mask,))), options.point_masks)
    weights = options.layer_weights.per_layer(layers)
    if masks is None or not options.weight or not any(part.weights):
        return None
    check_acts(options.layer_weights, weights)
    terms = _terms(part, weights, options, positive)
    if not terms:
        return None
    return Application(
        part,
        terms,
        options.span,
        options.schedule,
        options.scaling,
        masks,
        mean_of_each=options.mean_of_each,
        point_masks=options.point_masks,
        balance=options.balance,
    )


def _terms(
    part: PromptPart, weights: Mapping[Layer, LayerWeight], options: ApplyOptions, positive: SourceCond
) -> dict[Layer, tuple[LayerTerm, ...]]:
    """What is added to each layer whose weight is not 0."""
    by_layer = {}
    kvs = part.keys_values or (_MADE_LATER,) * len(weights)
    for number, ((layer, own), kv) in enumerate(zip(weights.items(), kvs, strict=True)):
        if options.skip_middle and layer.stage == "middle":
            continue
        pairs = ((options.weight * own.positive, positive), (options.weight * own.to_negative, _TO_NEGATIVE))
        terms = tuple(LayerTerm(kv, weight, source_cond, number) for weight, source_cond in pairs if weight)
        if terms:
            by_layer[layer] = terms
    return by_layer


def _masks(masks: Sequence[Tensor], beyond: bool) -> tuple[Tensor, ...] | None:
    """The masks that are not white everywhere; None when one of them is black everywhere."""
    partial = [mask for mask in (usable(mask, beyond) for mask in masks) if mask is not None]
    return None if any(not mask.any() for mask in partial) else tuple(partial)


def check_acts(spread: LayerWeights, weights: Mapping[Layer, LayerWeight]) -> None:
    """Refuse a spread that acts nowhere although its own weight is not 0: it would leave the model as it is, unseen."""
    if not spread.muted and act_nowhere(weights):
        raise ValueError(
            "Choose another weight type, or name layers of this model with a number that is not 0 in a custom list: "
            f"{spread.name} gives all of its layers 0, so that the image prompt would do nothing. The model has "
            f"{names_in(tuple(weights))}."
        )


def _check_fit(adapter: Geometry, model: Geometry) -> None:
    if adapter != model:
        raise ValueError(
            "Load an adapter made for this model, or the model this adapter is for: the adapter is "
            f"for {describe(adapter)}; the model is {describe(model)}."
        )
