"""What is applied to a model to be measured: one image prompt or several, in our way, the peers', another pack's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ..ip_adapter_core.attention.application import ApplyOptions
from ..ip_adapter_core.prompts.prompt import ImagePrompt
from ..nodes.host.sampling import model_patch
from . import peers
from .adapters import RandomAdapter, adapter

PLAIN, NULL = "plain", "null"
ONE, FOUR, MANY, MASKED = "one adapter, 4 tokens", "four adapters", "one adapter, 16 tokens", "one adapter, masked"
PEERS = "the peers' method"

_SIDE = 64  # of a mask

Apply = Callable[[ModelPatcher, Sequence[RandomAdapter]], ModelPatcher]


class Load(NamedTuple):
    """What is to be applied: so many adapters of so many tokens."""

    adapters: int
    tokens: int


LOADS = {ONE: Load(1, 4), FOUR: Load(4, 4), MANY: Load(1, 16)}


def standard(
    model: ModelPatcher, others: Mapping[str, Apply], loads: Mapping[str, Load] = LOADS
) -> dict[str, ModelPatcher]:
    """The plain model, the same once more, and every load: our way, and under `beside(load, way)` in every other."""
    found = {PLAIN: model, NULL: model.clone()}
    for name, load in loads.items():
        adapters = [adapter(model, load.tokens, seed) for seed in range(load.adapters)]
        found[name] = ours(model, [one.prompt for one in adapters])
        found |= {beside(name, way): apply(model, adapters) for way, apply in others.items()}
    found[MASKED] = ours(model, [adapter(model, 4).prompt], half())
    return found


def beside(load: str, way: str) -> str:
    """Name of a load applied in another way."""
    return f"{load}: {way}"


def ours(model: ModelPatcher, prompts: Sequence[ImagePrompt], mask: Tensor | None = None) -> ModelPatcher:
    """The model with these prompts, one applied after another."""
    for prompt in prompts:
        model = model_patch.apply(model, prompt, ApplyOptions(mask=mask))
    return model


def half() -> Tensor:
    """A mask of the left half, (1, height, width)."""
    mask = torch.zeros(1, _SIDE, _SIDE)
    mask[:, :, : _SIDE // 2] = 1
    return mask


WAYS: dict[str, Apply] = {PEERS: peers.apply}
