"""InstantX's adapters for SD3.5 and Flux: the numbers of their layers become those of other published files.

Sources of the names: InstantX/SD3.5-Large-IP-Adapter, pipeline_stable_diffusion_3_ipa.py;
InstantX/FLUX.1-dev-IP-Adapter, infer_flux_ipa_siglip.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_PROJECTION = re.compile(r"image_proj(?:_model)?\.(?:time_embedding\..+|proj\.0\.weight)")
_LAYER = re.compile(r"(ip_adapter|adapter_modules)\.(0|[1-9]\d{0,3})\.(.+)")
_OF_THE_FIRST = re.compile(r"(?:ip_adapter|adapter_modules)\.[02]\.(?:to_[kv]_ip|norm_).+")


def is_of_instantx(names: Iterable[str]) -> bool:
    """Whether a file with these names is such an adapter whose blocks are numbered one by one, from 0.

    The files that this package saves have odd numbers, as those of other adapters.
    """
    names = list(names)
    return all(any(map(sign.fullmatch, names)) for sign in (_PROJECTION, _OF_THE_FIRST))


def find_sources(named: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """The name in the file of each tensor, by its published name; others keep theirs."""
    return {_publish(name): (name,) for name in named}


def _publish(name: str) -> str:
    """The published name: blocks are numbered as cross-attentions are, which have the odd numbers."""
    found = _LAYER.fullmatch(name)
    return f"{found[1]}.{2 * int(found[2]) + 1}.{found[3]}" if found else name
