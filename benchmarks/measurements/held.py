"""Goal 5: the tensors that a sampling of SDXL with a plus adapter holds."""

from __future__ import annotations

import torch

from ..adapters import prompt
from ..cases import ours
from ..figures import Findings
from ..sampling import observed
from ..settings import Settings
from ..storages import held, storages
from ..unets import hollow

_MEGA = 1e6
_REFERENCES, _TOKENS, _SIZE = 4, 16, 1024


def measure(settings: Settings) -> Findings:
    """Bytes of what is reached from a call's options, beyond the prompt itself and what the plain model's reach."""
    found = Findings()
    model = hollow("SDXL", torch.float16)
    plain = observed(model, _SIZE)
    for references in (1, _REFERENCES):
        given = prompt(model, _TOKENS, references)
        before = storages(given, plain)
        each = held(observed(ours(model, [given]), _SIZE), before) / references / _MEGA
        how = f"SDXL, 16 tokens, cond and uncond, fp16, {references} reference{'s' * (references > 1)}"
        found.add("held" if references == 1 else f"held for each of {references} references", each, "MB", how)
        if references == 1:
            own = sum(storages(given).values()) / _MEGA
            found.add("the prompt itself, in main memory", own, "MB", "SDXL, 16 tokens, cond and uncond, fp32")
    return found
