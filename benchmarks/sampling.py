"""Sampling with ComfyUI's own sampler, with a word put in at every call of the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.sample
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from .unets import TEXT_TOKENS, context

KEY = "bench"
POOLED = 1280
CELL = 8  # pixels of a latent's

Options = dict[str, Any]
Network = Callable[..., Tensor]
"""(executor, x, timesteps, context, y, control, transformer_options, …) -> the network's answer, its own or another."""


@torch.inference_mode()  # as ComfyUI runs its nodes
def sample(model: ModelPatcher, size: int, steps: int, network: Network | None = None, frames: int = 1) -> None:
    """Sample square pictures of so many pixels a side, cond and uncond together; network: around the model's own."""
    clone = model.clone()
    if network:
        clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, network)
    noise = torch.randn(frames, 4, size // CELL, size // CELL, generator=torch.Generator().manual_seed(1))
    positive, negative = (_cond(model, seed) for seed in (2, 3))
    given = {"positive": positive, "negative": negative, "latent_image": torch.zeros_like(noise), "seed": 1}
    comfy.sample.sample(
        clone, noise, steps, cfg=4.0, sampler_name="euler", scheduler="normal", disable_pbar=True, **given
    )


def observed(model: ModelPatcher, size: int, frames: int = 1) -> Options:
    """What the network is told by a sampler, patches included, once everything is prepared. It is not called.

    Raises RuntimeError when the sampler does not take cond and uncond together.
    """
    seen: list[Options] = []

    def watch(executor: Any, x: Tensor, *given: Any, **more: Any) -> Tensor:
        seen.append(options(given, more))
        return torch.zeros_like(x)

    sample(model, size, 3, watch, frames)
    if len(seen) != 3:
        raise RuntimeError("ComfyUI calls the network for cond and uncond apart: free some memory and measure again.")
    return seen[-1]


def options(given: tuple[Any, ...], more: dict[str, Any]) -> Options:
    """transformer_options among the arguments of a network after x."""
    found: Options = more["transformer_options"] if "transformer_options" in more else given[4]
    return found


def _cond(model: ModelPatcher, seed: int) -> list[Any]:
    random = torch.Generator().manual_seed(seed)
    pooled = torch.randn(1, POOLED, generator=random)
    return [[torch.randn(1, TEXT_TOKENS, context(model), generator=random), {"pooled_output": pooled}]]
