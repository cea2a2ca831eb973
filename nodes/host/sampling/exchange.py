"""Another image prompt in the place of one that a MODEL follows, for programs that draw picture after picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from comfy.model_patcher import ModelPatcher

from ....ip_adapter_core.adapters.lora import LoraUse
from ....ip_adapter_core.attention.application import Application, Applied
from ....ip_adapter_core.prompts.prompt import ImagePrompt
from .model_patch import applications_on, carry, installed_applications

Group = tuple[Applied | None, list[Application]]
"""What a prompt was applied with, and the applications that were made of it."""


def prompts_of(model: ModelPatcher) -> tuple[ImagePrompt, ...]:
    """The image prompts that a MODEL follows, in the order they were applied; those of weight 0 left no trace."""
    return tuple(applied.prompt for applied, _ in _groups(model) if applied)


def exchange(model: ModelPatcher, old: ImagePrompt, new: ImagePrompt) -> ModelPatcher:
    """A clone of the model that follows the new prompt wherever the old one was applied, with what was set there.

    Raises ValueError when the model does not follow the old prompt, when the new one does not fit the model, and when
    it brings another LoRA.
    """
    groups = _groups(model)
    if not any(applied and applied.prompt is old for applied, _ in groups):
        followed = sum(applied is not None for applied, _ in groups)
        raise ValueError(
            "Give a prompt that the model follows, one of prompts(model), which are the very ones that were applied; "
            f"found {followed} on the model, and this one is not among them."
        )
    kept = [_exchanged(model, group, new) if group[0] and group[0].prompt is old else group[1] for group in groups]
    return carry(model, tuple(application for group in kept for application in group))


def _groups(model: ModelPatcher) -> list[Group]:
    by_applied = groupby(installed_applications(model), key=lambda application: id(application.applied))
    groups = [list(group) for _, group in by_applied]
    return [(group[0].applied, group) for group in groups]


def _exchanged(model: ModelPatcher, group: Group, new: ImagePrompt) -> Sequence[Application]:
    """The applications of a new prompt with what was set for a group; the LoRA, which is on the model, stays."""
    applied, before = group
    assert applied is not None
    after = applications_on(model, new, applied.options)
    loras = [next((one.lora for one in side if one.lora), None) for side in (before, after)]
    if not _alike(*loras):
        raise ValueError(
            "Give a prompt of the same adapter, or apply the new one to the model without the old one; their adapters "
            "bring different LoRAs, which are on the weights of the model: found "
            f"{' and '.join(one.file if one else 'none' for one in loras)}."
        )
    return [replace(one, lora=loras[0] if one.lora else None) for one in after]


def _alike(one: LoraUse | None, other: LoraUse | None) -> bool:
    return one is other if one is None or other is None else one.same(other)
