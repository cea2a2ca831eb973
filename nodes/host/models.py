"""Facts of a MODEL that decide which image prompts fit it: geometry, layers, family, and Kolors' text projection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.nn.functional import linear

from ...ip_adapter_core.adapters.identity import Identity
from ...ip_adapter_core.adapters.variants import KOLORS
from ...ip_adapter_core.layers import architectures, families, layout
from ...ip_adapter_core.layers.cross_stream import is_cross_stream
from ...ip_adapter_core.layers.layout import Geometry, Layer

_KOLORS_POOLED = 5632  # width of the pooled text with the picture's sizes


def config(model: ModelPatcher) -> Mapping[str, Any]:
    """What ComfyUI says of the construction of this model; empty for models that it did not load itself."""
    unet_config = getattr(getattr(model.model, "model_config", None), "unet_config", None)
    return unet_config if isinstance(unet_config, Mapping) else {}


def geometry(model: ModelPatcher, adapter: Geometry | None = None) -> Geometry:
    """What an adapter must match to fit this model, where adapters of several authors have other layers by default
    the usual ones.

    Raises ValueError for models that take no image prompts.
    """
    return architectures.geometry(config(model), adapter)


def family(model: ModelPatcher) -> str:
    """Name of the published family of this model, as adapters name it. Raises ValueError like `geometry`."""
    return KOLORS if _is_kolors(model) else families.family(geometry(model))


def layers(model: ModelPatcher, adapter: Geometry | None = None) -> tuple[Layer, ...]:
    """Where this model takes image attention of an adapter, by default of the usual ones.

    Raises ValueError like `geometry`.
    """
    return architectures.layers(config(model), adapter)


def layers_of_all(model: ModelPatcher) -> tuple[tuple[Layer, ...], ...]:
    """The same for the adapters of each author, the usual ones first. Raises ValueError like `geometry`."""
    return tuple(layers(model, each) for each in architectures.geometries(config(model)))


def cross_attentions(model: ModelPatcher) -> tuple[Layer, ...]:
    """The cross-attentions of this UNet. Raises ValueError for other models, that they take image prompts or not."""
    return layout.layers(config(model))


def check_family(model: ModelPatcher, identity: Identity) -> None:
    """Raises ValueError when an adapter for Kolors meets another model, as Kolors has SDXL's layers and projects texts
    in a way of its own, and when one that reads Anima's noise levels does."""
    if identity.variant.family == KOLORS and not _is_kolors(model):
        raise ValueError(
            f"Load a Kolors model, or an adapter for this one; this adapter ({identity.variant.name}) "
            "is for Kolors, and the model is none."
        )
    if identity.variant.reads_time and not is_cross_stream(config(model)):
        raise ValueError(
            f"Load an Anima model, or an adapter for this one; this adapter ({identity.variant.name}) reads the noise "
            "level as Anima has it."
        )


def _is_kolors(model: ModelPatcher) -> bool:
    return _text_projection(model) is not None or config(model).get("adm_in_channels") == _KOLORS_POOLED


def _text_projection(model: ModelPatcher) -> Any:
    return getattr(model.model.diffusion_model, "encoder_hid_proj", None)


def embed_time(base: Any, timestep: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """What an Anima BaseModel makes of a noise level for its blocks, (1, width).

    timestep: as the model's schedule counts. dtype: in which it computes.
    """
    network = base.diffusion_model
    waves, layers = network.t_embedder
    embedded, _ = layers(waves(torch.tensor([[timestep]], device=device)).to(dtype))
    found: Tensor = network.t_embedding_norm(embedded)
    return found[:, 0].float()


def project_as_text(model: ModelPatcher, tokens: Tensor) -> Tensor:
    """Image tokens as the model projects the tokens of texts. Raises ValueError when it was loaded without that."""
    projection = _text_projection(model)
    if projection is None:
        raise ValueError(
            "Load this Kolors model with Kolors UNET Loader V2; the adapter's tokens go through the "
            "model's projection of texts (encoder_hid_proj), and it was loaded without that."
        )
    weight, bias = (part.to(tokens) for part in (projection.weight, projection.bias))
    return linear(tokens, weight, bias)
