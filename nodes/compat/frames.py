"""What the old pack's nodes for the weights of frames do; in a socket, the weights of all frames are one list."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from ...ip_adapter_core.compat import frame_weights
from ...ip_adapter_core.compat.frame_weights import Strategy, read_strategy

Weights = list[float] | float


def weights(image: Tensor | None = None, weights_strategy: Any = None, **given: Any) -> tuple[Any, ...]:
    """Weights, the same backwards, the number of frames, the images of each frame, and the settings for other nodes."""
    count = 0 if image is None else len(image)
    own = None if weights_strategy is not None else replace(Strategy(**given), frame_count=count)
    strategy = own or read_strategy(weights_strategy)
    spread = strategy.spread(count)
    images = (image[numbers] if image is not None and numbers else None for numbers in (spread.first, spread.second))
    return (spread.weights, spread.weights[::-1], len(spread.weights), *images, strategy.as_dict())


def combine(weights_1: Weights, weights_2: Weights, **_: Any) -> tuple[list[float], int]:
    """Two lists as one, and its length."""
    joined = frame_weights.combine(weights_1, weights_2)
    return joined, len(joined)


def prompt_schedule(weights_strategy: Any, prompt: str = "", **_: Any) -> tuple[str]:
    """A schedule of texts for the frames of a strategy."""
    return (frame_weights.prompt_schedule(read_strategy(weights_strategy), prompt),)
