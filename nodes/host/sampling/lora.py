"""The LoRA of an adapter on a MODEL: weight patches of the host's kind, and never two for the same LoRA."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter.lora import LoRAAdapter

from ....ip_adapter_core.adapters.lora import LoraUse, LowRank

_log = logging.getLogger(__name__)

_TRAINED = 1.0  # the strength an adapter was trained with


class AdapterPatch(LoRAAdapter):
    """A patch of the host's kind for one weight; its class says that an adapter put it there.

    use: the LoRA of the adapter. It is set afterwards: the host copies patches with the constructor's arguments alone.
    """

    use: LoraUse | None = None


def settle(model: ModelPatcher, uses: Sequence[LoraUse]) -> None:
    """Patch a model's weights, in place, with the LoRA of the last use: once, at the strength that was set last.

    uses: those of all image prompts on the model, in the order they were applied. Where a LoRA loader has loaded the
    same LoRA, the model stays as it is. Raises ValueError when the model lacks one of the weights.
    """
    lora = uses[-1]
    patches = _patches_of(model, lora)
    ours = [strength for strength, patch in patches if isinstance(patch, AdapterPatch)]
    wanted = [use.strength for use in uses if use.strength is not None and use.same(lora)]
    strength = wanted[-1] if wanted else _TRAINED
    if patches and not ours:
        _log_loader(lora, strength, patches[0][0])
    elif ours != [strength]:
        _log_others(lora, wanted)
        _remove(model, lora)
        _add(model, lora, strength)


def warn_of_copies(model: ModelPatcher, lora: LoraUse) -> None:
    """Say it when a LoRA loader has loaded what this use brings along."""
    patches = [patch for _, patch in _patches_of(model, lora)]
    ours = [patch for patch in patches if isinstance(patch, AdapterPatch)]
    if len(patches) > len(ours) and any(patch.use is lora for patch in ours):
        _log.warning(
            "%s brings its LoRA along, and a LoRA loader has loaded the same one: it acts twice. Remove the loader.",
            lora.file,
        )


def _patches_of(model: ModelPatcher, lora: LoraUse) -> list[tuple[float, LoRAAdapter]]:
    """The strength and the patch of this LoRA for each time that a model has it, whoever put it there; one weight
    tells for all."""
    name, pair = lora.sample()
    return [(strength, patch) for strength, patch, *_ in model.patches.get(name, ()) if _is(pair, patch)]


def _is(pair: LowRank, patch: Any) -> bool:
    return isinstance(patch, LoRAAdapter) and pair.is_in(patch.weights)


def _add(model: ModelPatcher, lora: LoraUse, strength: float) -> None:
    patches = {name: _patch(name, pair, lora) for name, pair in lora.patches.items()} if strength else {}
    # With none as well: the host knows by it that the weights are other ones.
    lacking = patches.keys() - set(model.add_patches(patches, strength))
    if lacking:
        raise ValueError(
            f"Load the model that this adapter is for; this one has no {min(lacking)}, which the LoRA "
            f"of {lora.file} adds to."
        )


def _patch(name: str, pair: LowRank, lora: LoraUse) -> AdapterPatch:
    patch = AdapterPatch({name}, (*pair, None, None, None, None))
    patch.use = lora
    return patch


def _remove(model: ModelPatcher, lora: LoraUse) -> None:
    """Take away what an earlier use of this LoRA added; the model that it was added to keeps it."""
    for name, pair in lora.patches.items():
        entries = model.patches.pop(name, [])
        others = [entry for entry in entries if not (isinstance(entry[1], AdapterPatch) and _is(pair, entry[1]))]
        if others:
            model.patches[name] = others


def _log_loader(lora: LoraUse, strength: float, theirs: float) -> None:
    if strength != theirs:
        _log.info(
            "A LoRA loader has loaded the LoRA of %s already, at %g: it is not applied again, and lora_strength %g "
            "is not used. Remove the loader to use it.",
            *(lora.file, theirs, strength),
        )


def _log_others(lora: LoraUse, wanted: Sequence[float]) -> None:
    if len(set(wanted)) > 1:
        _log.info(
            "The LoRA of %s acts once on a model, at the lora_strength that is said last: %g. Said before: %s.",
            *(lora.file, wanted[-1], ", ".join(f"{strength:g}" for strength in wanted[:-1])),
        )
