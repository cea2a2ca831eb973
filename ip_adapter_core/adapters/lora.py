"""The LoRA that some adapter files contain: trained together with their layers, for every attention of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor

from ..files.tensor_file import Shape
from ..layers.layout import Geometry, Layer
from .checkpoint import Parts


class Attentions(NamedTuple):
    """Which attentions of a model a LoRA changes, and what ComfyUI calls them.

    block: the name of the block that a layer is in.
    names: of the attentions of a block; self-attentions are 0, cross-attentions 1.
    weights: name in an adapter file -> name of the weight that it is added to.
    reads_texts: whether its cross-attentions read texts of another width than the adapter's tokens.
    """

    block: Callable[[Layer], str]
    names: Mapping[int, str]
    weights: Mapping[str, str]
    reads_texts: bool = False


OF_UNET = Attentions(
    attrgetter("module"),
    {0: "attn1", 1: "attn2"},
    {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out": "to_out.0"},
)
CROSS_OF_ANIMA = Attentions(
    lambda layer: f"blocks.{layer.block}",
    {1: "cross_attn"},
    {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "output_proj"},
    reads_texts=True,
)


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
    attentions: those that it changes.

    Source of the formula: tencent-ailab/IP-Adapter, ip_adapter/attention_processor_faceid.py.
    """

    file: str
    weights: dict[int, dict[str, Tensor]]
    attentions: Attentions = OF_UNET

    def use_on(self, layers: tuple[Layer, ...], strength: float | None = None) -> LoraUse:
        """The LoRA on a model with these layers, at a strength; the names of the model's weights are ComfyUI's."""
        block, names, weights, _ = self.attentions
        patches = {
            f"diffusion_model.{block(layer)}.{attention}.{weight}.weight": self._pair(2 * index + cross, name)
            for index, layer in enumerate(layers)
            for cross, attention in names.items()
            for name, weight in weights.items()
        }
        return LoraUse(self.file, patches, strength)

    def named_tensors(self) -> dict[str, Tensor]:
        """The tensors under the names of adapter files."""
        return Parts[Tensor]({}, {}, self.weights).flat()

    def _pair(self, number: int, name: str) -> LowRank:
        inner = self.weights[number]
        return LowRank(inner[f"{name}_lora.up.weight"], inner[f"{name}_lora.down.weight"])


def expected_shapes(
    geometry: Geometry, lora: Mapping[int, Mapping[str, Shape]], attentions: Attentions = OF_UNET
) -> dict[str, Shape]:
    """Names and shapes that the LoRA of an adapter must have, at its own rank; none when the adapter has no LoRA."""
    if not lora:
        return {}
    first = next(iter(lora.values()))
    key, shape = next(iter(first.items()))
    text = first.get("to_k_lora.down.weight", (0, 0))[1] if attentions.reads_texts else geometry.context
    return dict(_shapes(geometry.widths, text, shape[0] if ".down." in key else shape[1], attentions))


def _shapes(widths: tuple[int, ...], text: int, rank: int, attentions: Attentions) -> Iterator[tuple[str, Shape]]:
    for index, width in enumerate(widths):
        for cross in attentions.names:
            for name in attentions.weights:
                read = text if cross and name in ("to_k", "to_v") else width
                prefix = f"ip_adapter.{2 * index + cross}.{name}_lora"
                yield f"{prefix}.down.weight", (rank, read)
                yield f"{prefix}.up.weight", (width, rank)
