"""PuLID for SDXL: the names of its tensors become those of other published files, and its layers have their numbers.

Source of the names: ToTheBeginning/PuLID, pulid/pipeline.py, load_pretrain and hack_unet_attn_layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_PROJECTION = re.compile(r"id_adapter\.(.+)")
_LAYER = re.compile(r"id_adapter_attn_layers\.(\d{1,4})\.id_to_([kv])\.(.+)")


def is_of_pulid(names: Iterable[str]) -> bool:
    """Whether a file with these names holds a part of such an adapter."""
    return any(_PROJECTION.fullmatch(name) or _LAYER.fullmatch(name) for name in names)


def find_sources(named: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """The name in the file of each tensor, by its published name; others keep theirs."""
    return {_publish(name): (name,) for name in named}


def _publish(name: str) -> str:
    """The published name; the numbers count all attentions already, so that cross-attentions have the odd ones."""
    if found := _PROJECTION.fullmatch(name):
        return f"image_proj.{found[1]}"
    if found := _LAYER.fullmatch(name):
        return f"ip_adapter.{found[1]}.to_{found[2]}_ip.{found[3]}"
    return name
