"""The LoRA that some adapter files contain: trained together with their layers, for every attention of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..files.tensor_file import Shape
from ..layers.layout import Geometry, Layer
from .checkpoint import Parts

# Name in an adapter file -> name of the weight that it is added to.
_WEIGHTS = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out": "to_out.0"}


class LowRank(NamedTuple):
    """What is added to a weight (out, in): up @ down, without any division.

    up: (out, rank).
    down: (rank, in).
    """

    up: Tensor
    down: Tensor

    def is_in(self, others: tuple[object, ...]) -> bool:
        """Whether the first two of others are a copy of this pair, on any device and in any precision."""
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
    """A LoRA on one model.

    file: name of the adapter file.
    patches: by name of the model's weight, what is added to it.
    strength: None means the strength of other uses on the model, and without any, 1.
    """

    file: str
    patches: dict[str, LowRank]
    strength: float | None = None

    def sample(self) -> tuple[str, LowRank]:
        """One weight and what is added to it; two LoRAs are the same when this pair is."""
        return next(iter(self.patches.items()))

    def same(self, other: LoraUse) -> bool:
        """Whether another use is of the same LoRA."""
        name, pair = self.sample()
        return name in other.patches and pair.is_in(other.patches[name])


@dataclass(frozen=True, eq=False)
class AdapterLora:
    """The LoRA of an adapter file.

    file: name of the adapter file.
    weights: by number of the attention, its tensors by name; self-attentions have even numbers, cross-attentions odd.

    Source of the formula: tencent-ailab/IP-Adapter, ip_adapter/attention_processor_faceid.py.
    """

    file: str
    weights: dict[int, dict[str, Tensor]]

    def use_on(self, layers: tuple[Layer, ...], strength: float | None = None) -> LoraUse:
        """The LoRA on a model with these layers, at a strength; the names of the model's weights are ComfyUI's."""
        patches = {
            f"diffusion_model.{layer.module}.attn{cross + 1}.{weight}.weight": self._pair(2 * index + cross, name)
            for index, layer in enumerate(layers)
            for cross in (0, 1)
            for name, weight in _WEIGHTS.items()
        }
        return LoraUse(self.file, patches, strength)

    def named_tensors(self) -> dict[str, Tensor]:
        """The tensors under the names of adapter files."""
        return Parts[Tensor]({}, {}, self.weights).flat()

    def _pair(self, number: int, name: str) -> LowRank:
        inner = self.weights[number]
        return LowRank(inner[f"{name}_lora.up.weight"], inner[f"{name}_lora.down.weight"])


def expected_shapes(geometry: Geometry, lora: Mapping[int, Mapping[str, Shape]]) -> dict[str, Shape]:
    """Names and shapes that the LoRA of an adapter must have, at its own rank; none when the adapter has no LoRA."""
    if not lora:
        return {}
    key, shape = next(iter(next(iter(lora.values())).items()))
    return dict(_shapes(geometry, shape[0] if ".down." in key else shape[1]))


def _shapes(geometry: Geometry, rank: int) -> Iterator[tuple[str, Shape]]:
    for index, width in enumerate(geometry.widths):
        for cross in (0, 1):
            for name in _WEIGHTS:
                read = geometry.context if cross and name in ("to_k", "to_v") else width
                prefix = f"ip_adapter.{2 * index + cross}.{name}_lora"
                yield f"{prefix}.down.weight", (rank, read)
                yield f"{prefix}.up.weight", (width, rank)
