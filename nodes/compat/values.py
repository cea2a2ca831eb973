"""What goes through the sockets of the old nodes, in that pack's form, so that other packs that look inside find it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ...ip_adapter_core.adapters.variants import ENCODED
from ..host import adapters
from ..host.adapters import LoadedAdapter

_ADAPTER, _ENCODER, _FACES = "ipadapter", "clipvision", "insightface"


class Bundle(NamedTuple):
    """What an IPADAPTER socket carries.

    adapter: the adapter.
    encoder: a CLIP_VISION; None where the loader gives none.
    reader: of faces; None likewise.
    """

    adapter: LoadedAdapter
    encoder: Any = None
    reader: Any = None


def pack(bundle: Bundle, provider: str | None = None) -> dict[str, dict[str, Any]]:
    """A bundle as the old pack writes it: for each part its file or provider, and its model."""
    return {
        _ADAPTER: {"file": bundle.adapter.name, "model": bundle.adapter},
        _ENCODER: {"file": None, "model": bundle.encoder},
        _FACES: {"provider": provider, "model": bundle.reader},
    }


def unpack(value: Any, encoder: Any = None, reader: Any = None) -> Bundle:
    """The bundle of a socket's value; what a node has connected itself comes before what the value carries.

    Raises ValueError for the value of another pack, unless it says which file it is of.
    """
    parts = value if isinstance(value, Mapping) else {}
    adapter, own_encoder, own_reader = (_model(parts, name) for name in (_ADAPTER, _ENCODER, _FACES))
    if not isinstance(adapter, LoadedAdapter):
        adapter = _read(parts)
    return Bundle(adapter, own_encoder if encoder is None else encoder, own_reader if reader is None else reader)


def split_embeds(adapter: LoadedAdapter, embeds: Tensor) -> tuple[Tensor, Tensor | None]:
    """The positive and, where they hold it, the negative half of embeds; before version 2 both were in one tensor.

    Raises ValueError when they are not what the adapter reads.
    """
    identity = adapter.identity
    field = identity.variant.reads[0]
    if field not in ENCODED or len(identity.variant.reads) > 1:
        raise ValueError(
            f"Use IPAdapter FaceID in place of this node: {adapter.name} is a {identity.variant.name} adapter, which "
            "reads faces, and embeds hold none."
        )
    axes, width = {"embeds": 2, "hidden": 3, "normed_hidden": 3}[field], identity.widths[0]
    if not isinstance(embeds, Tensor) or embeds.shape[-1] != width or embeds.ndim not in (axes, axes + 1):
        raise ValueError(
            f"Connect embeds that were made for this adapter: it reads {field} of width {width} "
            f"({identity.encoder}); found {_describe(embeds)}."
        )
    return (embeds, None) if embeds.ndim == axes else (embeds[0], embeds[1])


def _model(parts: Mapping[str, Any], name: str) -> Any:
    part = parts.get(name)
    return part.get("model") if isinstance(part, Mapping) else None


def _read(parts: Mapping[str, Any]) -> LoadedAdapter:
    part = parts.get(_ADAPTER)
    file = part.get("file") if isinstance(part, Mapping) else None
    if not isinstance(file, str) or not Path(file).is_file():
        raise ValueError(
            "Connect ipadapter to IPAdapter Model Loader or to a unified loader of this package; found an IPADAPTER "
            "of another pack."
        )
    return adapters.read(Path(file).name, file)


def _describe(embeds: Any) -> str:
    return f"a tensor of shape {list(embeds.shape)}" if isinstance(embeds, Tensor) else f"a {type(embeds).__name__}"
