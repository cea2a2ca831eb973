"""Goal 10: what it takes until a changed weight, span, mask, schedule or layer weight acts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from comfy.model_patcher import ModelPatcher

from ...ip_adapter_core.attention.application import ApplyOptions
from ...ip_adapter_core.prompts.prompt import ImagePrompt
from ...ip_adapter_core.settings.curves import Curve
from ...ip_adapter_core.settings.layer_weights import from_weight_type
from ...ip_adapter_core.settings.schedule import Schedule
from ...ip_adapter_core.settings.span import Span
from ...nodes.host.sampling import model_patch
from ..adapters import prompt
from ..cases import half
from ..figures import Findings
from ..outside import nothing
from ..sampling import sample
from ..settings import Settings
from ..timing import differences, interleaved, spread
from ..unets import hollow

SIZES = {"SD1.5": 512, "SDXL": 1024}
_TOKENS = 16
_PLAIN = "plain"

CHANGES = {
    "weight": ApplyOptions(0.7),
    "start and end": ApplyOptions(span=Span(0.1, 0.6)),
    "layer weights": ApplyOptions(layer_weights=from_weight_type("ease in")),
    "mask": ApplyOptions(mask=half()),
    "schedule": ApplyOptions(schedule=Schedule((Curve("ease in"),))),
}


def measure(settings: Settings) -> Findings:
    """The slowest change of each family: applying it, and preparing the first step."""
    found = Findings()
    for family, size in SIZES.items():
        model = hollow(family)
        given = prompt(model, _TOKENS)
        actions = {name: changed(model, given, use, size) for name, use in CHANGES.items()}
        actions[_PLAIN] = partial(sample, model, size, 1, nothing)
        taken = interleaved(actions, settings.brief)
        added = {name: [1000 * s for s in differences(taken[name], taken[_PLAIN])] for name in CHANGES}
        slowest = max(added, key=lambda name: spread(added[name]).median)
        how = f"16 tokens, {size} px, the slowest of {len(CHANGES)} changes ({slowest}), first step prepared"
        found.add(f"again {family}", added[slowest], "ms", how)
    return found


def changed(model: ModelPatcher, given: ImagePrompt, use: ApplyOptions, size: int) -> Callable[[], None]:
    """Apply a prompt so, and sample one step with a network that takes no time."""
    return lambda: sample(model_patch.apply(model, given, use), size, 1, nothing)
