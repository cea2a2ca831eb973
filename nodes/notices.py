"""Notices that a node shows beside its result: hints at inputs that are most likely not meant."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import ui
from torch import Tensor

from ..ip_adapter_core.adapters.identity import Identity
from ..ip_adapter_core.attention.application import ApplyOptions
from ..ip_adapter_core.layers.layout import Layer
from ..ip_adapter_core.settings.layer_weights import LayerWeights, act_nowhere
from ..ip_adapter_core.settings.masks import covers_nothing
from ..ip_adapter_core.settings.span import Span

_log = logging.getLogger(__name__)

_PROMPT = "this image prompt"
_BLACK = (
    "The mask is black everywhere, so that {what} acts nowhere. Load Image gives such a mask for a picture "
    "without transparency; invert it, or leave the mask empty."
)
_NO_STEP = (
    "From start to end there is no step of the sampling, so that the image prompt acts in none. Set end further behind "
    "start."
)
_NO_LAYER = (
    "The layer weights give every layer 0, so that this image prompt does nothing. Give Layer Weights another weight."
)
_TRANSPARENT = "Transparency is not looked at: the encoder reads what is under it too."
_UNREAD = "Set crop to mask, or background to a colour; as they are, the connected mask is not read."
_UNTOLD = (
    "Load an adapter of kind Instruct, or disconnect instruction; adapters of kind {kind} are not told what to take "
    "from a picture."
)
_OPAQUE = (
    "alpha is on, but the picture has no fourth channel, so all of it is read. Load Image gives transparency as a "
    "mask: invert it for reference_mask."
)
_NEUTRAL = "What reference_mask or alpha leave out became the encoder's neutral colour, with a soft edge"
_BY_PATCHES = f"{_NEUTRAL}, and adapters of kind {{kind}} look at no patch of it."
_AS_A_WHOLE = f"{_NEUTRAL}. Adapters of kind {{kind}} take the whole square, so they still see the outline."

_READ_WHOLE = {
    "grey on white": "All of the face's picture is read, its background too. Adapters of kind {kind} were trained on "
    "faces and hair on white: make the rest black in reference_mask, or transparent with alpha.",
}
"""What is said where nothing is left out, by how the kind of adapter reads a face's picture."""
_READ_IN_PART = {"grey on white": "What reference_mask or alpha leave out became white."}


def of_use(use: ApplyOptions) -> list[str]:
    """The notices for settings of which each alone makes an image prompt do nothing."""
    return [*of_weight(use.weight), *of_span(use.span), *of_mask(use.mask)]


def of_weight(weight: float, name: str = "weight", what: str = _PROMPT) -> list[str]:
    """The notice for a weight of 0, which is also logged.

    name: of its input. what: what it weighs.
    """
    return _logged(f"{name} is 0, so that {what} does nothing. Set another number, such as 0.6.", weight == 0)


def of_span(span: Span) -> list[str]:
    """The notice for a start and an end with no step between them, which is also logged."""
    return _logged(_NO_STEP, span.empty)


def of_layers(spread: LayerWeights, layers: tuple[Layer, ...]) -> list[str]:
    """The notice for layer weights that give all of a model's layers 0, which is also logged."""
    return _logged(_NO_LAYER, act_nowhere(spread.per_layer(layers)))


def of_mask(mask: Tensor | None, what: str = _PROMPT) -> list[str]:
    """The notice for a mask that is black everywhere, which is also logged; what: it masks."""
    return _logged(_BLACK.format(what=what), covers_nothing(mask))


def of_pictures(images: Tensor, alpha: bool = False) -> list[str]:
    """The notice for pictures with a fourth channel, or without one where alpha wants it."""
    has_alpha = images.ndim == 4 and images.shape[-1] == 4
    if has_alpha == alpha:
        return []
    return [_OPAQUE] if alpha else [_TRANSPARENT]


def of_unread_mask(mask: Tensor | None, is_read: bool) -> list[str]:
    """The notice for a mask that is connected and that no choice reads."""
    return [_UNREAD] if mask is not None and not is_read else []


def of_reference_mask(adapter: Identity, partly_read: bool) -> list[str]:
    """What became of the surroundings of references that are read in part, or should be, by an adapter's kind."""
    variant = adapter.variant
    usual = (_BY_PATCHES if variant.selective else _AS_A_WHOLE) if partly_read else None
    text = (_READ_IN_PART if partly_read else _READ_WHOLE).get(variant.portrayal, usual)
    return [text.format(kind=variant.name)] if text else []


def of_instruction(adapter: Identity, told: bool) -> list[str]:
    """The notice for an instruction that is connected and that an adapter's kind does not read."""
    return [_UNTOLD.format(kind=adapter.variant.name)] if told and not adapter.variant.instructed else []


def with_notices(notices: list[str], preview: ui.PreviewImage | None = None) -> Any:
    """What a node shows: its preview, if it has one, and its notices, if there are any."""
    if not notices:
        return preview
    return (preview.as_dict() if preview else {}) | {"text": tuple(notices)}


def _logged(notice: str, holds: bool) -> list[str]:
    if not holds:
        return []
    _log.warning(notice)
    return [notice]
