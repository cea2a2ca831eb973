"""The LoRA of an adapter on a MODEL: the host's own weight patches, and never two of the same."""

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
    """What an adapter's LoRA adds to one weight: the host's own patch, of a class that says who put it there.

    The host makes patches anew from the class and what its constructor takes, so use is set afterwards.
    """

    use: LoraUse | None = None


def settle(model: ModelPatcher, uses: Sequence[LoraUse]) -> None:
    """Let a model's weights have the LoRA of the last use, in place: once, at the strength that was said last.

    uses: of all image prompts on the model, in the order they were applied. What a loader has loaded of it already is
    left as it is. Raises ValueError when the model lacks one of the weights.
    """
    lora = uses[-1]
    there = _copies(model, lora)
    ours = [strength for strength, patch in there if isinstance(patch, AdapterPatch)]
    said = [use.strength for use in uses if use.strength is not None and use.same(lora)]
    strength = said[-1] if said else _TRAINED
    if there and not ours:
        _tell_of_loader(lora, strength, there[0][0])
    elif ours != [strength]:
        _tell_of_others(lora, said)
        _remove(model, lora)
        _add(model, lora, strength)


def warn_of_copies(model: ModelPatcher, lora: LoraUse) -> None:
    """Say it when a LoRA loader has loaded what this use brings along."""
    there = [patch for _, patch in _copies(model, lora)]
    ours = [patch for patch in there if isinstance(patch, AdapterPatch)]
    if len(there) > len(ours) and any(patch.use is lora for patch in ours):
        _log.warning(
            "%s brings its LoRA along, and a LoRA loader has loaded the same one: it acts twice. Remove the loader.",
            lora.file,
        )


def _copies(model: ModelPatcher, lora: LoraUse) -> list[tuple[float, LoRAAdapter]]:
    """The strength and the patch of this LoRA wherever a model has it, whoever put it there: judged by one weight."""
    name, pair = lora.sample()
    return [(strength, patch) for strength, patch, *_ in model.patches.get(name, ()) if _is(pair, patch)]


def _is(pair: LowRank, patch: Any) -> bool:
    return isinstance(patch, LoRAAdapter) and pair.is_in(patch.weights)


def _add(model: ModelPatcher, lora: LoraUse, strength: float) -> None:
    patches = {name: _patch(name, pair, lora) for name, pair in lora.patches.items()} if strength else {}
    # With none as well: the host knows by it that the weights are other ones.
    lacking = patches.keys() - set(model.add_patches(patches, strength))
    if lacking:
        raise ValueError(f"This model has no {min(lacking)}, which the LoRA of {lora.file} adds to.")


def _patch(name: str, pair: LowRank, lora: LoraUse) -> AdapterPatch:
    patch = AdapterPatch({name}, (*pair, None, None, None, None))
    patch.use = lora
    return patch


def _remove(model: ModelPatcher, lora: LoraUse) -> None:
    """Take away what an earlier use of this LoRA added; the model that it was added to keeps it."""
    for name, pair in lora.patches.items():
        there = model.patches.pop(name, [])
        kept = [entry for entry in there if not (isinstance(entry[1], AdapterPatch) and _is(pair, entry[1]))]
        if kept:
            model.patches[name] = kept


def _tell_of_loader(lora: LoraUse, strength: float, theirs: float) -> None:
    if strength != theirs:
        _log.info(
            "A LoRA loader has loaded the LoRA of %s already, at %g: it is not applied again, and lora_strength %g "
            "is not used. Remove the loader to use it.",
            *(lora.file, theirs, strength),
        )


def _tell_of_others(lora: LoraUse, said: Sequence[float]) -> None:
    if len(set(said)) > 1:
        _log.info(
            "The LoRA of %s acts once on a model, at the lora_strength that is said last: %g. Said before: %s.",
            *(lora.file, said[-1], ", ".join(f"{strength:g}" for strength in said[:-1])),
        )
