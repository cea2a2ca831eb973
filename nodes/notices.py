"""Notices that a node shows beside its result: hints at inputs that are most likely not meant."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import ui
from torch import Tensor

from ..ip_adapter_core.settings.masks import covers_nothing

_log = logging.getLogger(__name__)

_BLACK = (
    "The mask is black everywhere, so that this image prompt acts nowhere. Load Image gives such a mask for a picture "
    "without transparency; invert it, or leave the mask empty."
)
_TRANSPARENT = "Transparency is not looked at: the encoder reads what is under it too."


def of_mask(mask: Tensor | None) -> list[str]:
    """The notice for a mask that is black everywhere, which is also logged."""
    if not covers_nothing(mask):
        return []
    _log.warning(_BLACK)
    return [_BLACK]


def of_pictures(images: Tensor) -> list[str]:
    """The notice for pictures with a fourth channel."""
    return [_TRANSPARENT] if images.ndim == 4 and images.shape[-1] == 4 else []


def with_notices(notices: list[str], preview: ui.PreviewImage | None = None) -> Any:
    """What a node shows: its preview, if it has one, and its notices, if there are any."""
    if not notices:
        return preview
    return (preview.as_dict() if preview else {}) | {"text": tuple(notices)}
