"""SD3.5 adapters of InstantX: the numbers of their layers become those of other published files.

Source of the names: InstantX/SD3.5-Large-IP-Adapter, pipeline_stable_diffusion_3_ipa.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_TIME = re.compile(r"image_proj(?:_model)?\.time_embedding\..+")
_LAYER = re.compile(r"(ip_adapter|adapter_modules)\.(0|[1-9]\d{0,3})\.(.+)")


def is_of_instantx(names: Iterable[str]) -> bool:
    """Whether a file with these names is such an adapter whose blocks are numbered one by one.

    The files of this package have odd numbers for it too.
    """
    names = list(names)
    numbers = {int(found[2]) for found in map(_LAYER.fullmatch, names) if found}
    return any(map(_TIME.fullmatch, names)) and any(number % 2 == 0 for number in numbers)


def find_sources(named: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """The name in the file of each tensor, by its published name; others keep theirs."""
    return {_publish(name): (name,) for name in named}


def _publish(name: str) -> str:
    """The published name: blocks are numbered as cross-attentions are, which have the odd numbers."""
    found = _LAYER.fullmatch(name)
    return f"{found[1]}.{2 * int(found[2]) + 1}.{found[3]}" if found else name
