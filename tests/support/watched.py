"""A sampling whose attention map is taken."""

from typing import Any

import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.attention.attention_map import MAP_KINDS
from sampled import cond, noise

SIDE = 16


def latent(pictures: int = 1) -> dict[str, Any]:
    return {"samples": noise(pictures, SIDE, SIDE) * 0.5}


def look(model: Any, show: str = "influence", given: dict[str, Any] | None = None, **how: Any) -> dict[str, Tensor]:
    """The maps of a sampled latent, (16, 16), by name; how: layers, frame, steps, seed, sigmas, positive."""
    return {name: tally.mean() for name, tally in look_whole(model, show, given, **how).maps.items()}


def look_whole(model: Any, show: str = "influence", given: dict[str, Any] | None = None, **how: Any) -> Any:
    """All that is seen in a sampled latent; how: as for `look`."""
    from comfyui_ip_adapter.nodes.host.attention_map import AddedNoise, Sampled
    from comfyui_ip_adapter.nodes.host.attention_map import look as look_again
    from comfyui_ip_adapter.nodes.host.sampling.attention_hook import MapRequest

    given = given or latent()
    positive = how.pop("positive", cond(1))
    level = AddedNoise(how.pop("steps", (0.3, 0.7)), how.pop("seed", 0), how.pop("sigmas", None))
    images = how.pop("images", torch.zeros(len(given["samples"]), 8 * SIDE, 8 * SIDE, 3))
    return look_again(model, Sampled(positive, given, images), level, MapRequest(MAP_KINDS[show], **how))
