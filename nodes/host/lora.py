"""The LoRA of an adapter on a MODEL: the host's own weight patches, and never two of the same."""

from __future__ import annotations

import logging

import torch
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter.lora import LoRAAdapter

from ...ip_adapter_core.lora import LoraUse, LowRank

_log = logging.getLogger(__name__)


def add(model: ModelPatcher, lora: LoraUse) -> None:
    """Let a model's weights have the LoRA too, in place, unless they have it already.

    Raises ValueError when the model lacks one of the weights.
    """
    if copies(model, lora):
        return
    patches = {name: LoRAAdapter({name}, (*pair, None, None, None, None)) for name, pair in lora.patches.items()}
    lacking = patches.keys() - set(model.add_patches(patches, lora.strength))
    if lacking:
        raise ValueError(f"This model has no {min(lacking)}, which the LoRA of {lora.file} adds to.")


def copies(model: ModelPatcher, lora: LoraUse) -> int:
    """How many times a model has this LoRA, whoever put it there: judged by one weight."""
    name, pair = next(iter(lora.patches.items()))
    return sum(_is(pair, patch[1]) for patch in model.patches.get(name, ()))


def warn_of_copies(model: ModelPatcher, lora: LoraUse) -> None:
    """Say it when a LoRA loader has loaded what the adapter brings along."""
    if copies(model, lora) > 1:
        _log.warning(
            "%s brings its LoRA along, and a LoRA loader has loaded the same one: it acts twice. Remove the loader.",
            lora.file,
        )


def _is(pair: LowRank, patch: object) -> bool:
    weights = getattr(patch, "weights", None)
    if not isinstance(weights, tuple) or len(weights) < 2:
        return False
    return all(
        isinstance(theirs, torch.Tensor) and theirs.shape == ours.shape and torch.equal(theirs.float(), ours.float())
        for ours, theirs in zip(pair, weights, strict=False)
    )
