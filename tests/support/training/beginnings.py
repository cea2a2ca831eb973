"""The beginning of a training on the host's real UNet: settings, pictures, a new adapter."""

from typing import Any, ClassVar

import torch

from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.training.examples import TensorExamples
from comfyui_ip_adapter.ip_adapter_core.training.fresh import fresh
from comfyui_ip_adapter.ip_adapter_core.training.settings import Settings
from constructions import EMBED
from twins import CONSTRUCTIONS, _unet_config

QUICK = Settings(steps=3, batch=2, learning_rate=1e-3, drop_text=0.2, drop_image=0.2)


POOLED = 8


def tower(context: int, count: int = 4, pooled: bool = False, size: int = 8) -> TensorExamples:
    """Random pictures, whose features are embeds."""
    random = torch.Generator().manual_seed(2)
    shapes = {"latents": (4, size, size), "features": (EMBED,), "context": (7, context)}
    shapes |= {"pooled": (POOLED,)} if pooled else {}
    rows = {name: torch.randn(count, *shape, generator=random) for name, shape in shapes.items()}
    return TensorExamples(rows, {name: rows[name][:1] * 0 for name in rows if name != "latents"})


def beginning(model: Any, kind: str = "base") -> Adapter:
    from comfyui_ip_adapter.nodes.host import models
    from comfyui_ip_adapter.nodes.host.training import base_model

    return fresh(kind, models.geometry(model), EMBED, base_model.attention_weights(model), tokens=3)


def sdxl() -> Any:
    """A tiny model of the host's SDXL class, with the width of a tiny pooled text."""
    import comfy.model_patcher
    from comfy import latent_formats, model_base, ops, supported_models_base

    class Config(supported_models_base.BASE):
        unet_extra_config: ClassVar[dict[str, Any]] = {}

    one_level = CONSTRUCTIONS["one level"]
    vector = {"num_classes": "sequential", "adm_in_channels": POOLED + 6 * 256}
    config = Config({**_unet_config(one_level), **vector})
    config.latent_format = latent_formats.SDXL()
    config.custom_operations = ops.disable_weight_init
    torch.manual_seed(1)
    model = model_base.SDXL(config, device="cpu")
    for name, parameter in model.diffusion_model.named_parameters():
        parameter.data.normal_(std=0.05) if parameter.ndim > 1 else parameter.data.fill_(float(name.endswith("weight")))
    device = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)
