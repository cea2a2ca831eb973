"""A vision encoder that other packs can call as they call the model inside one of ComfyUI's own encoders."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ...ip_adapter_core.vision.encoder import VisionEncoder
from ...ip_adapter_core.vision.towers import Tower

States = tuple[Tensor | None, Tensor | None, Tensor]
"""Last hidden states, intermediate ones, and embeds."""


class CoreModel(nn.Module):
    """What `clip_vision.model` is in core (comfy.clip_model.CLIPVisionModelProjection), for packs that call it.

    vision_model: the part before the projection; visual_projection: pooled (images, width) -> embeds.
    """

    def __init__(self, encoder: VisionEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = _config(encoder.tower)

    def forward(
        self, pixel_values: Tensor, attention_mask: None = None, intermediate_output: int | str | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor, None]:
        """Normalised pixels (images, 3, size, size) -> last hidden states, intermediate ones, embeds, and nothing.

        intermediate_output: a layer, negative from the last, (images, tokens, width); "all" of them, (images, layers,
        tokens, width); or None. All in the dtype of the pixels, as core computes.
        """
        last, intermediate, embeds = self._states(pixel_values, intermediate_output)
        return _final_norm(self.encoder, last), intermediate, embeds, None

    @property
    def vision_model(self) -> Any:
        """Core's tower: called alike, it gives the pooled state in the place of embeds."""
        positions = _positions(self.encoder)
        embeddings = SimpleNamespace(position_embedding=SimpleNamespace(weight=positions))
        return _FunctionWithAttributes(self._before_projection, embeddings=embeddings)

    def visual_projection(self, pooled: Tensor) -> Tensor:
        """Pooled states (images, width) -> embeds (images, embed_dim)."""
        return pooled @ self.encoder.visual.proj.to(pooled) if _is_clip(self.encoder) else pooled

    def _before_projection(
        self, pixel_values: Tensor, attention_mask: None = None, intermediate_output: int | str | None = None
    ) -> States:
        last, intermediate, embeds = self._states(pixel_values, intermediate_output)
        if last is None or not _is_clip(self.encoder):
            return _final_norm(self.encoder, last), intermediate, embeds
        pooled = self.encoder.visual.ln_post(last[:, 0].to(self.encoder.weight))
        return last, intermediate, pooled.to(pixel_values.dtype)

    def _states(self, pixel_values: Tensor, intermediate_output: int | str | None) -> States:
        embeds, states = self.encoder.states(pixel_values, [*self._layers(intermediate_output), -1])
        *layers, last = (None if state is None else state.to(pixel_values.dtype) for state in states)
        inner = [state for state in layers if state is not None]
        stacked = intermediate_output == "all" and inner
        intermediate = torch.stack(inner, dim=1) if stacked else next(iter(inner), None)
        return last, intermediate, embeds.to(pixel_values.dtype)

    def _layers(self, intermediate_output: int | str | None) -> list[int]:
        if isinstance(intermediate_output, int):
            return [intermediate_output]
        return list(range(self.encoder.tower.layers)) if intermediate_output == "all" else []


class _FunctionWithAttributes(SimpleNamespace):
    """A function that is called as a module is, with a module's attributes."""

    def __init__(self, function: Any, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


def _is_clip(encoder: VisionEncoder) -> bool:
    """Whether the tower is OpenAI's construction, which core has too."""
    return all(hasattr(encoder.visual, name) for name in ("ln_post", "proj", "positional_embedding"))


def _positions(encoder: VisionEncoder) -> Tensor | None:
    """Position embeddings, (tokens, width)."""
    trunk = getattr(encoder.visual, "trunk", None)
    owner, name = (encoder.visual, "positional_embedding") if trunk is None else (trunk, "pos_embed")
    embedding = getattr(owner, name, None)
    return None if embedding is None else embedding.reshape(-1, embedding.shape[-1])


def _final_norm(encoder: VisionEncoder, last: Tensor | None) -> Tensor | None:
    """Core gives the last states of towers without CLS (SigLIP) after the final norm, and of all others before it."""
    trunk = getattr(encoder.visual, "trunk", None)
    if last is None or trunk is None or encoder.tower.tokens != encoder.tower.grid**2:
        return last
    return trunk.norm(last.to(encoder.weight)).to(last.dtype)


def _config(tower: Tower) -> dict[str, Any]:
    return {
        "model_type": "clip_vision_model",
        "hidden_act": "quick_gelu" if tower.quick_gelu else "gelu",
        "hidden_size": tower.width,
        "num_hidden_layers": tower.layers,
        "num_channels": 3,
        "patch_size": tower.patch,
        "image_size": tower.image_size,
        "image_mean": list(tower.mean),
        "image_std": list(tower.std),
        "projection_dim": tower.embed_dim,
    }
