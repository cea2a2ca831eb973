"""Adapters for Anima that anima_lora trains: the names of their tensors become those of other published files.

Source of the names: sorryhyun/anima_lora, bench/ip_adapter/impl/ip_adapter.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..files.errors import UnsupportedCheckpoint

_PROJECTION = re.compile(r"resampler\.(.+)|(ip_centroid)")
_LAYER = re.compile(r"to_([kv])_ip\.(\d{1,4})\.weight")
_GATE = re.compile(r"ip_gate\.(\d{1,4})")
_OWN = re.compile(rf"{_LAYER.pattern}|{_GATE.pattern}|ip_centroid|resampler\.(?:queries|kv_proj\..+)")


def is_of_anima(names: Iterable[str]) -> bool:
    """Whether a file with these names holds a part of such an adapter."""
    return any(map(_OWN.fullmatch, names))


def find_sources(named: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """The name in the file of each tensor, by its published name; others keep theirs.

    Raises UnsupportedCheckpoint for files without gates: some were trained with the model's own norm of keys and some
    without, and nothing in them says which.
    """
    if any(map(_LAYER.fullmatch, named)) and not any(map(_GATE.fullmatch, named)):
        raise UnsupportedCheckpoint(
            "Choose an Anima adapter that has gates (ip_gate.0 and so on), as anima_lora trains them since May 2026; "
            "this one has none, and its tensors do not tell how its keys are to be read."
        )
    return {_publish(name): (name,) for name in named}


def _publish(name: str) -> str:
    """The published name: blocks are numbered as cross-attentions are, which have the odd numbers."""
    if found := _LAYER.fullmatch(name):
        return f"ip_adapter.{2 * int(found[2]) + 1}.to_{found[1]}_ip.weight"
    if found := _GATE.fullmatch(name):
        return f"ip_adapter.{2 * int(found[1]) + 1}.ip_gate"
    found = _PROJECTION.fullmatch(name)
    return f"image_proj.{found[1] or found[2]}" if found else name
