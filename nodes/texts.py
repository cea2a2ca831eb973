"""What users write on nodes, checked before a graph runs, and what they are told beside errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
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


def readable(read: Callable[..., object], *given: object) -> bool | str:
    """Whether what was written can be read, or the reason why not, as `validate_inputs` gives it.

    An input that is wired in is None: it is known only when the graph runs.
    """
    if None in given:
        return True
    try:
        read(*given)
    except ValueError as mistake:
        return str(mistake)
    return True


def of_mask(mask: Tensor | None) -> list[str]:
    """What to tell of a mask that is most likely not meant, which is also logged."""
    if not covers_nothing(mask):
        return []
    _log.warning(_BLACK)
    return [_BLACK]


def of_pictures(images: Tensor) -> list[str]:
    """What to tell of pictures with a fourth channel."""
    return [_TRANSPARENT] if images.ndim == 4 and images.shape[-1] == 4 else []


def with_text(told: list[str], preview: ui.PreviewImage | None = None) -> Any:
    """What a node shows: its preview, if it has one, and what it tells, if there is anything."""
    if not told:
        return preview
    return (preview.as_dict() if preview else {}) | {"text": tuple(told)}
