"""InstantX's projection for SD3.5: a resampler whose layers know how noisy the picture is.

    proj_in of hidden states  (rows, patches, width)        once for an image: `forward`
    tokens of a noise level   (rows, tokens, context)       at every step: `at`

Source of the formula: InstantX/SD3.5-Large-IP-Adapter, models/resampler.py, as diffusers has it too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from .projections import LayerClasses, Perceiver, ResamplerLayer, Shapes

_LONGEST_PERIOD = 10000


class TimeResampler(Perceiver):
    """Learned queries read the patches, as in the plus kinds; time shifts and scales them in each layer.

    width: of what `forward` makes of hidden states, which prompts keep.
    """

    def __init__(self, shapes: Shapes, nn_: LayerClasses) -> None:
        super().__init__(shapes, nn_)
        _, self.tokens, self.width = shapes["latents"]
        self.latents = nn.Parameter(torch.empty(1, self.tokens, self.width))
        names = (f"layers.{number}" for number in range(len(self.layers)))
        self.layers = nn.ModuleList(TimedResamplerLayer(shapes, name, self.width, nn_) for name in names)
        self.time_embedding = TimeEmbedding(shapes, self.width, nn_)

    def forward(self, hidden: Tensor) -> Tensor:
        """(images, patches, hidden) -> (images, patches, width), which holds at every noise level."""
        return self.proj_in(hidden)

    def at(self, image: Tensor, time: Tensor) -> Tensor:
        """(rows, patches, width), (rows, width) -> tokens (rows, tokens, context); time of `time_embedding`."""
        image, latents = image + time[:, None], self.latents.to(image).expand(len(image), -1, -1)
        layers: Iterable[Any] = self.layers
        for layer in layers:
            latents = layer.at(image, latents, time)
        return self.norm_out(self.proj_out(latents))


class TimeEmbedding(nn.Module):
    """A timestep as a vector: cosines and sines of many periods, then two layers."""

    def __init__(self, shapes: Shapes, width: int, nn_: LayerClasses) -> None:
        super().__init__()
        inner, self.waves = shapes["time_embedding.linear_1.weight"]
        self.linear_1, self.linear_2 = nn_.Linear(self.waves, inner), nn_.Linear(inner, width)

    def forward(self, timesteps: Tensor) -> Tensor:
        """(rows,), 0..1000 -> (rows, width)."""
        half = self.waves // 2
        numbers = torch.arange(half, device=timesteps.device, dtype=torch.float32)
        angles = timesteps.float()[:, None] * torch.exp(-math.log(_LONGEST_PERIOD) / half * numbers)
        waves = torch.cat([angles.cos(), angles.sin()], dim=1).to(timesteps.dtype)
        return self.linear_2(silu(self.linear_1(waves)))


class TimedResamplerLayer(ResamplerLayer):
    """A layer of the resampler whose latents time shifts and scales before each of its two halves."""

    def __init__(self, shapes: Shapes, name: str, width: int, nn_: LayerClasses) -> None:
        super().__init__(shapes, name, width, nn_)
        self.append(nn.Sequential(nn.SiLU(), nn_.Linear(width, 4 * width)))

    def at(self, image: Tensor, latents: Tensor, time: Tensor) -> Tensor:
        """(rows, patches, width), (rows, tokens, width), (rows, width) -> (rows, tokens, width)."""
        attention: Any
        feed_forward: Any
        attention, feed_forward, modulation = self
        shift, scale, later_shift, later_scale = modulation(time)[:, None].chunk(4, dim=-1)
        latents = latents + attention.read(attention.norm1(image), attention.norm2(latents) * (1 + scale) + shift)
        norm, *rest = feed_forward
        changed = norm(latents) * (1 + later_scale) + later_shift
        for step in rest:
            changed = step(changed)
        return latents + changed
