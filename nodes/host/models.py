"""What an image prompt must know of a MODEL."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher

from ...ip_adapter_core import layout
from ...ip_adapter_core.application import application
from ...ip_adapter_core.layout import Geometry
from ...ip_adapter_core.prompt import ImagePrompt
from ...ip_adapter_core.schedule import Span
from .sampling import install


def geometry(model: ModelPatcher) -> Geometry:
    """What an adapter must match to fit this model. Raises ValueError for models without cross-attention blocks."""
    return layout.geometry(model.model.model_config.unet_config)


def apply(model: ModelPatcher, prompt: ImagePrompt, weight: float, span: Span) -> ModelPatcher:
    """A clone of the model that follows the image prompt. Raises ValueError when they do not fit."""
    config = model.model.model_config.unet_config
    layers = layout.layers(config)
    return install(model, application(prompt, layers, config["context_dim"], weight, span))
