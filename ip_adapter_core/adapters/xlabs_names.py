"""Flux adapters of XLabs: the names of their tensors become those of other published files.

Source of the names: XLabs-AI/x-flux, src/flux/xflux_pipeline.py, set_ip.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_PROJECTION = re.compile(r"ip_adapter_proj_model\.(.+)")
_LAYER = re.compile(r"double_blocks\.(\d{1,4})\.processor\.ip_adapter_double_stream_([kv])_proj\.(weight|bias)")


def is_of_xlabs(names: Iterable[str]) -> bool:
    """Whether a file with these names holds a part of such an adapter."""
    return any(_PROJECTION.fullmatch(name) or _LAYER.fullmatch(name) for name in names)


def find_sources(named: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """The name in the file of each tensor, by its published name; others keep theirs."""
    return {_publish(name): (name,) for name in named}


def _publish(name: str) -> str:
    """The published name: blocks are numbered as cross-attentions are, which have the odd numbers."""
    if found := _PROJECTION.fullmatch(name):
        return f"image_proj.{found[1]}"
    if found := _LAYER.fullmatch(name):
        return f"ip_adapter.{2 * int(found[1]) + 1}.to_{found[2]}_ip.{found[3]}"
    return name
