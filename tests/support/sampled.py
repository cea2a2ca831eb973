"""Sampling with ComfyUI's own samplers in the test process: prompts, conds, noise, and how far results differ."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

import anima_twins
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.attention.application import ApplyOptions, applications
from comfyui_ip_adapter.ip_adapter_core.layers import architectures
from comfyui_ip_adapter.ip_adapter_core.layers.cross_stream import CROSS
from comfyui_ip_adapter.ip_adapter_core.layers.double_stream import DOUBLE
from comfyui_ip_adapter.ip_adapter_core.layers.joint_stream import JOINT
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from fabricate import adapters
from sd3_twins import hidden, sd3_adapter
from twins import Twins

EMBED = 40


def embeds(images: int = 1, seed: int = 5) -> Tensor:
    """What an encoder might say of pictures."""
    return torch.randn(images, EMBED, generator=torch.Generator().manual_seed(seed))


STEPS = 4


def make_prompt(twins: Twins, folder: Path, seed: int, tokens: int = 4) -> ImagePrompt:
    layers = architectures.layers(twins.patcher.model.model_config.unet_config)
    if layers[0].stage == JOINT:
        network = load(adapters.save(folder / f"{seed}.safetensors", sd3_adapter(seed, tokens)))
        return image_prompt(network, (hidden(seed=seed),), (torch.zeros_like(hidden()),))
    if layers[0].stage == CROSS:
        network, inputs = load(_save_as_anima(folder, seed, tokens)), (anima_twins.hidden(seed=seed),)
        return image_prompt(network, inputs, inputs)
    widths, bias = tuple(layer.width for layer in layers), layers[0].stage == DOUBLE
    nested = adapters.adapter("base", widths, twins.context, EMBED, seed, tokens=tokens, bias=bias)
    network = load(adapters.save(folder / f"{seed}.safetensors", nested))
    random = torch.Generator().manual_seed(seed)
    return image_prompt(network, (torch.randn(1, EMBED, generator=random),), (torch.zeros(1, EMBED),))


def _save_as_anima(folder: Path, seed: int, tokens: int) -> Path:
    named = adapters.as_anima(adapters.flat(anima_twins.anima_adapter(seed, tokens)))
    save_file(named, folder / f"{seed}.safetensors")
    return folder / f"{seed}.safetensors"


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


def halved(model: Any, *address: Any) -> Any:
    """Another pack's patch: text values count half in this block."""
    from comfy.ldm.modules.attention import optimized_attention

    clone = model.clone()
    clone.set_model_attn2_replace(lambda q, k, v, extra: optimized_attention(q, k, v * 0.5, extra["n_heads"]), *address)
    return clone
