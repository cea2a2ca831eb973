"""One use of an image prompt on one model: which layers, how strongly, and when. An immutable value."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from .adapter import KeysValues
from .layout import Geometry, Layer
from .prompt import ImagePrompt
from .schedule import Span


@dataclass(frozen=True)
class Application:
    """Keys and values of the patched layers (sides, prompts, tokens, inner), λ of each, and the span it acts in."""

    layers: dict[Layer, KeysValues]
    weights: dict[Layer, float]
    span: Span

    @property
    def prompts(self) -> int:
        """How many prompts it holds: one for the whole batch, or one per frame."""
        return next(iter(self.layers.values())).keys.shape[1]

    def rows(self, layer: Layer, sides: Tensor, prompts: Tensor) -> KeysValues:
        """K' and λ·V' for rows of a batch, (rows, tokens, inner); attention is linear in V', so λ is folded into it."""
        keys, values = self.layers[layer]
        return KeysValues(keys[sides, prompts], values[sides, prompts] * self.weights[layer])


def application(prompt: ImagePrompt, layers: tuple[Layer, ...], context: int, weight: float, span: Span) -> Application:
    """The prompt on a model with these layers, at weight λ in every layer.

    Raises ValueError when the adapter was made for another model, or weight or span cannot be meant.
    """
    _check_fit(prompt.identity.geometry, Geometry(context, tuple(layer.width for layer in layers)))
    if not math.isfinite(weight):
        raise ValueError(f"The weight is {weight}; it must be a finite number such as 0.8.")
    span.check()
    used = dict(zip(layers, prompt.keys_values, strict=True)) if weight else {}
    return Application(used, dict.fromkeys(used, weight), span)


def _check_fit(adapter: Geometry, model: Geometry) -> None:
    if adapter != model:
        raise ValueError(
            f"This adapter is for {adapter.describe()}; the model is {model.describe()}. "
            "Load an adapter made for this model, or the model this adapter is for."
        )
