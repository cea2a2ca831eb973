"""What the node IPAdapter of another pack did, which had the id before: a file by name, and a picture."""

from __future__ import annotations

from typing import Any

from . import applying, loading
from .pictures import vision_output


def apply_other(
    model: Any,
    model_name: str,
    weight: float = 1.0,
    image: Any = None,
    clip_vision: Any = None,
    mask: Any = None,
    clip_vision_output: Any = None,
    **given: Any,
) -> tuple[Any, ...]:
    """A MODEL that follows a picture, or what an encoder said of one; and what the encoder says of it."""
    (bundle,) = loading.load_ipadapter_model(model_name)
    patched, _ = applying.apply_ipadapter(
        model,
        bundle,
        image=image,
        clip_vision_output=clip_vision_output,
        weight=weight,
        attn_mask=mask,
        clip_vision=clip_vision,
        numbers=given.get("numbers", ""),
    )
    return patched, clip_vision_output if image is None else vision_output(clip_vision, image)
