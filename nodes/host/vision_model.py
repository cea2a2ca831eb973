"""A vision encoder under the names, and called in the ways, of the models inside ComfyUI's own encoders."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ...ip_adapter_core.vision.encoder import VisionEncoder
from ...ip_adapter_core.vision.towers import Tower

Called = tuple[Tensor | None, Tensor | None, Tensor]


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
        return _normed(self.encoder, last), intermediate, embeds, None

    @property
    def vision_model(self) -> Any:
        """Core's tower: called alike, it gives the pooled state in the place of embeds."""
        positions = _positions(self.encoder)
        embeddings = SimpleNamespace(position_embedding=SimpleNamespace(weight=positions))
        return _Named(self._before_projection, embeddings=embeddings)

    def visual_projection(self, pooled: Tensor) -> Tensor:
        """Pooled states (images, width) -> embeds (images, embed_dim)."""
        return pooled @ self.encoder.visual.proj.to(pooled) if _is_clip(self.encoder) else pooled

    def _before_projection(
        self, pixel_values: Tensor, attention_mask: None = None, intermediate_output: int | str | None = None
    ) -> Called:
        last, intermediate, embeds = self._states(pixel_values, intermediate_output)
        if last is None or not _is_clip(self.encoder):
            return _normed(self.encoder, last), intermediate, embeds
        pooled = self.encoder.visual.ln_post(last[:, 0].to(self.encoder.weight))
        return last, intermediate, pooled.to(pixel_values.dtype)

    def _states(self, pixel_values: Tensor, intermediate_output: int | str | None) -> Called:
        embeds, states = self.encoder.states(pixel_values, [*self._layers(intermediate_output), -1])
        *found, last = (None if state is None else state.to(pixel_values.dtype) for state in states)
        there = [state for state in found if state is not None]
        every = intermediate_output == "all" and there
        intermediate = torch.stack(there, dim=1) if every else next(iter(there), None)
        return last, intermediate, embeds.to(pixel_values.dtype)

    def _layers(self, asked: int | str | None) -> list[int]:
        if isinstance(asked, int):
            return [asked]
        return list(range(self.encoder.tower.layers)) if asked == "all" else []


class _Named(SimpleNamespace):
    """A function with attributes."""

    def __init__(self, function: Any, **named: Any) -> None:
        super().__init__(**named)
        self._function = function

    def __call__(self, *given: Any, **more: Any) -> Any:
        return self._function(*given, **more)


def _is_clip(encoder: VisionEncoder) -> bool:
    """Whether the tower is OpenAI's construction, which core has too."""
    return all(hasattr(encoder.visual, name) for name in ("ln_post", "proj", "positional_embedding"))


def _positions(encoder: VisionEncoder) -> Tensor | None:
    """Position embeddings, (tokens, width)."""
    trunk = getattr(encoder.visual, "trunk", None)
    found = (
        getattr(encoder.visual, "positional_embedding", None) if trunk is None else getattr(trunk, "pos_embed", None)
    )
    return None if found is None else found.reshape(-1, found.shape[-1])


def _normed(encoder: VisionEncoder, last: Tensor | None) -> Tensor | None:
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
