"""Sampling with ComfyUI's own samplers in the test process: prompts, conds, noise, and how far results differ."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.attention.application import ApplyOptions, applications
from comfyui_ip_adapter.ip_adapter_core.layers import architectures
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from constructions import encoder, usual
from twins import Twins

STEPS = 4


def make_prompt(twins: Twins, folder: Path, seed: int, tokens: int = 4) -> ImagePrompt:
    """An image of this seed, as an adapter of this seed reads it."""
    return encoder(usual(twins), twins, folder, seed, tokens)(seed)


def apply(model: Any, prompt: ImagePrompt, weight: float = 1.0, span: Span | None = None, **how: Any) -> Any:
    from comfyui_ip_adapter.nodes.host.sampling import model_patch

    return model_patch.apply(model, prompt, ApplyOptions(weight, span or Span(), **how))


def with_layers(model: Any, prompt: ImagePrompt, layers: Sequence[Layer], context: int) -> Any:
    """A MODEL with a prompt whose keys and values are assigned to these layers, in their order."""
    from comfyui_ip_adapter.nodes.host.sampling import model_patch

    (right,) = applications(prompt, architectures.layers(model.model.model_config.unet_config), context)
    assigned = dict(zip(layers, right.layers.values(), strict=True))
    return model_patch.install(model, (replace(right, layers=assigned),))


def cond(seed: int, context: int = 48) -> list[Any]:
    return [[torch.randn(1, 7, context, generator=torch.Generator().manual_seed(seed)), {}]]


def noise(batch: int = 1, height: int = 8, width: int = 8) -> Tensor:
    return torch.randn(batch, 4, height, width, generator=torch.Generator().manual_seed(9))


def for_model(model: Any, latent: Tensor) -> Tensor:
    """Latent pictures as this MODEL has them: some have an axis for time."""
    over_time = model.get_model_object("latent_format").latent_dimensions == 3
    return latent[:, :, None] if over_time and latent.ndim == 4 else latent


def sample(model: Any, cfg: float = 4.0, sampler: str = "euler", given: Tensor | None = None, **more: Any) -> Tensor:
    import comfy.sample

    start = for_model(model, noise() if given is None else given)
    options = {"steps": STEPS, "cfg": cfg, "sampler_name": sampler, "scheduler": "normal"} | more
    latent: Any = options.pop("latent", torch.zeros_like(start))
    positive, negative = options.pop("positive", cond(1)), options.pop("negative", cond(2))
    return comfy.sample.sample(
        model,
        start,
        positive=positive,
        negative=negative,
        latent_image=for_model(model, latent),
        disable_pbar=True,
        seed=1,
        **options,
    )


def difference(a: Tensor, b: Tensor) -> float:
    """Largest difference, as a share of the largest value."""
    return ((a - b).abs().max() / b.abs().max()).item()
