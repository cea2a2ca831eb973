"""The pictures of a moodboard on a MODEL: each is read once, and applied as its role says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...ip_adapter_core.attention.application import ApplyOptions
from ...ip_adapter_core.settings.moodboard import Card, check_roles
from . import models, readings
from .adapters import LoadedAdapter
from .encoding import Look
from .sampling import model_patch


class Mixed(NamedTuple):
    """A moodboard on a model.

    model: a MODEL that follows all pictures.
    seen: of each card, the pictures as the encoder saw them, (images, size, size, 3).
    """

    model: ModelPatcher
    seen: list[Tensor]


def apply(model: ModelPatcher, adapter: LoadedAdapter, encoder: Any, cards: Sequence[Card], use: ApplyOptions) -> Mixed:
    """The model with the image prompt of each card, in their order.

    encoder: any CLIP_VISION; use: of all cards together. Raises ValueError when there are no cards, and where adapter,
    encoder, model, a picture or a role do not fit.
    """
    check_roles(list(cards), models.layers(model, adapter.identity.geometry))
    spans = [card.within(use.check().span) for card in cards]
    seen = []
    for number, (card, span) in enumerate(zip(cards, spans, strict=True), 1):
        try:
            look = Look(card.fit, mask=card.mask, instruction=card.instruction)
            prompt, pictures = readings.encode(adapter, encoder, card.images, look)
        except ValueError as error:
            raise ValueError(f"{error} This is so in picture {number} of the moodboard.") from error
        own = replace(use, weight=use.weight * card.strength, span=span, layer_weights=card.layer_weights)
        model = model_patch.apply(model, prompt, own)
        seen.append(pictures)
    return Mixed(model, seen)
