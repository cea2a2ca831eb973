"""Samplers that hand the model parts of a picture or of an animation, as core and other packs have them, and masks."""

from typing import Any

import torch
from torch import Tensor


def half(side: str, height: int = 64, width: int = 64) -> Tensor:
    """A mask that is white on one half."""
    mask = torch.zeros(1, height, width)
    if side == "left":
        mask[..., : width // 2] = 1
    elif side == "right":
        mask[..., width // 2 :] = 1
    elif side == "top":
        mask[:, : height // 2] = 1
    return mask


def tiled(model: Any, at_once: int) -> Any:
    """Another pack's sampler in tiles: halves of the picture, so many of them in a batch."""

    from packs.neighbours.manners import in_tiles

    return in_tiles(model, at_once)


def windowed(model: Any, length: int) -> Any:
    """Core's own context windows over the batch, without overlap."""
    import comfy.context_windows as core

    clone = model.clone()
    clone.model_options["context_handler"] = core.IndexListContextHandler(
        context_schedule=core.get_matching_context_schedule(core.ContextSchedules.STATIC_STANDARD),
        fuse_method=core.get_matching_fuse_method(core.ContextFuseMethods.FLAT),
        context_length=length,
        context_overlap=0,
        dim=0,
    )
    return clone


def evolved(model: Any, length: int) -> Any:
    """Context windows as AnimateDiff-Evolved tells of them: frame numbers in transformer_options."""

    def wrapper(apply_model: Any, given: dict[str, Any]) -> Tensor:
        x, t, more = given["input"], given["timestep"], given["c"]
        chunks = len(given["cond_or_uncond"])
        frames = len(x) // chunks
        found = torch.zeros_like(x)
        for start in range(0, frames, length):
            window = list(range(start, min(start + length, frames)))
            rows = [chunk * frames + number for chunk in range(chunks) for number in window]
            told = {"ad_params": {"sub_idxs": window, "full_length": frames}}
            part = {k: v[rows] if isinstance(v, Tensor) else v for k, v in more.items()}
            part["transformer_options"] = {**more["transformer_options"], **told}
            found[rows] = apply_model(x[rows], t[rows], **part)
        return found

    clone = model.clone()
    clone.set_model_unet_function_wrapper(wrapper)
    return clone
