"""One use of an image prompt on one model: which layers, how strongly, and when. An immutable value."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from .adapter import KeysValues
from .layout import Geometry, Layer
from .lora import LoraUse
from .prompt import ImagePrompt
from .schedule import Span


@dataclass(frozen=True)
class Application:
    """Keys and values of the patched layers (sides, prompts, tokens, inner), λ of each, and the span it acts in.

    lora: what the adapter adds to the model's own weights, in all of the sampling.
    """

    layers: dict[Layer, KeysValues]
    weights: dict[Layer, float]
    span: Span
    lora: LoraUse | None = None

    @property
    def prompts(self) -> int:
        """How many prompts it holds: one for the whole batch, or one per frame."""
        return next(iter(self.layers.values())).keys.shape[1]

    def rows(self, layer: Layer, sides: Tensor, prompts: Tensor) -> KeysValues:
        """K' and λ·V' for rows of a batch, (rows, tokens, inner); attention is linear in V', so λ is folded into it."""
        keys, values = self.layers[layer]
        return KeysValues(keys[sides, prompts], values[sides, prompts] * self.weights[layer])


def application(
    prompt: ImagePrompt,
    layers: tuple[Layer, ...],
    context: int,
    weight: float,
    span: Span,
    *,
    lora_strength: float = 1.0,
    skip_middle: bool = False,
) -> Application:
    """The prompt on a model with these layers, at weight λ in every layer.

    skip_middle: leave out the middle block, as a pack does that never reached it. Raises ValueError when the adapter
    was made for another model, or a number or the span cannot be meant.
    """
    _check_fit(prompt.identity.geometry, Geometry(context, tuple(layer.width for layer in layers)))
    for name, number in (("weight", weight), ("lora_strength", lora_strength)):
        if not math.isfinite(number):
            raise ValueError(f"The {name} is {number}; it must be a finite number such as 0.8.")
    span.check()
    every = dict(zip(layers, prompt.keys_values, strict=True)) if weight else {}
    used = {layer: pair for layer, pair in every.items() if not (skip_middle and layer.stage == "middle")}
    lora = prompt.lora.on(layers, lora_strength) if prompt.lora and used and lora_strength else None
    return Application(used, dict.fromkeys(used, weight), span, lora)


def _check_fit(adapter: Geometry, model: Geometry) -> None:
    if adapter != model:
        raise ValueError(
            f"This adapter is for {adapter.describe()}; the model is {model.describe()}. "
            "Load an adapter made for this model, or the model this adapter is for."
        )
