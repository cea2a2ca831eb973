"""The LoRA that some adapters bring along: trained together with their layers, for every attention of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..layers.layout import Geometry, Layer
from .checkpoint import Parts

Shape = tuple[int, ...]

# Name in an adapter file -> name of the weight that it is added to.
_WEIGHTS = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out": "to_out.0"}


class LowRank(NamedTuple):
    """What is added to a weight (out, in): up (out, rank) times down (rank, in), without any division."""

    up: Tensor
    down: Tensor

    def is_in(self, others: tuple[object, ...]) -> bool:
        """Whether the first two of others are a copy of it, be it on another device or in another precision."""
        return len(others) >= len(self) and all(_alike(*pair) for pair in zip(self, others, strict=False))


def _alike(one: Tensor, other: object) -> bool:
    if one is other:
        return True
    if not (isinstance(other, Tensor) and other.is_floating_point() and other.shape == one.shape):
        return False
    ours, theirs = one.float(), other.to(one.device, torch.float32)
    rounding = max(torch.finfo(kind.dtype).eps for kind in (one, other))
    return bool((ours - theirs).abs().max() <= rounding * ours.abs().max())


@dataclass(frozen=True, eq=False)
class LoraUse:
    """A LoRA on one model: what is added to each weight, by the weight's name there, and how strongly; None: as other
    uses on the model say, and as it was trained if none does."""

    file: str
    patches: dict[str, LowRank]
    strength: float | None = None

    def judged(self) -> tuple[str, LowRank]:
        """The weight that a copy of this LoRA is known by, and what is added to it."""
        return next(iter(self.patches.items()))

    def same(self, other: LoraUse) -> bool:
        """Whether another use is of the same LoRA."""
        name, pair = self.judged()
        return name in other.patches and pair.is_in(other.patches[name])


@dataclass(frozen=True, eq=False)
class AdapterLora:
    """The LoRA of an adapter file: by number of the attention, self-attentions even and cross-attentions odd.

    Source of the formula: tencent-ailab/IP-Adapter, ip_adapter/attention_processor_faceid.py.
    """

    file: str
    weights: dict[int, dict[str, Tensor]]

    def bind(self, layers: tuple[Layer, ...], strength: float | None = None) -> LoraUse:
        """Its use on a model with these layers."""
        patches = {
            f"diffusion_model.{layer.module}.attn{cross + 1}.{weight}.weight": self._pair(2 * place + cross, name)
            for place, layer in enumerate(layers)
            for cross in (0, 1)
            for name, weight in _WEIGHTS.items()
        }
        return LoraUse(self.file, patches, strength)

    def published(self) -> dict[str, Tensor]:
        """The tensors under the names of adapter files."""
        return Parts[Tensor]({}, {}, self.weights).flat()

    def _pair(self, number: int, name: str) -> LowRank:
        inner = self.weights[number]
        return LowRank(inner[f"{name}_lora.up.weight"], inner[f"{name}_lora.down.weight"])


def expected_shapes(geometry: Geometry, found: Mapping[int, Mapping[str, Shape]]) -> dict[str, Shape]:
    """Names and shapes that the LoRA of an adapter must have, if it has any, at the rank that it has."""
    if not found:
        return {}
    key, shape = next(iter(next(iter(found.values())).items()))
    return dict(_shapes(geometry, shape[0] if ".down." in key else shape[1]))


def _shapes(geometry: Geometry, rank: int) -> Iterator[tuple[str, Shape]]:
    for place, width in enumerate(geometry.widths):
        for cross in (0, 1):
            for name in _WEIGHTS:
                read = geometry.context if cross and name in ("to_k", "to_v") else width
                prefix = f"ip_adapter.{2 * place + cross}.{name}_lora"
                yield f"{prefix}.down.weight", (rank, read)
                yield f"{prefix}.up.weight", (width, rank)
