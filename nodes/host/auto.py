"""Finding the adapter and the encoder that fit a MODEL among the files on disk."""

from __future__ import annotations

from typing import Any, NamedTuple

from comfy.model_patcher import ModelPatcher

from ...ip_adapter_core import published
from ...ip_adapter_core.adapter import Identity
from ...ip_adapter_core.layout import Geometry, family
from ...ip_adapter_core.published import Published
from ...ip_adapter_core.selection import choose, fitting
from . import adapters, files, models, vision
from .adapters import LoadedAdapter


class Found(NamedTuple):
    """A loaded adapter and encoder, and how they were chosen, in words."""

    adapter: LoadedAdapter
    encoder: Any
    report: str


def find(model: ModelPatcher, kind: str) -> Found:
    """The best adapter of a kind for this model, and its encoder.

    Raises ValueError when one is missing: what was looked for, where, what was seen there, and what to download.
    """
    geometry = models.geometry(model)
    known = files.adapters()
    pair = choose(known, files.encoders(), geometry, kind)
    if pair is None:
        raise ValueError(_no_adapter(geometry, kind))
    if pair.encoder is None:
        raise ValueError(_no_encoder(pair.adapter, known[pair.adapter]))
    others = [name for name in fitting(known, geometry, kind) if name != pair.adapter]
    return Found(adapters.load(pair.adapter), vision.load(pair.encoder), _report(pair.adapter, pair.encoder, others))


def _report(adapter: str, encoder: str, others: list[str]) -> str:
    chosen = [files.described(files.ADAPTERS, adapter), files.described(files.ENCODERS, encoder)]
    return "\n".join(chosen + [f"also fits: {name}" for name in others])


def _no_adapter(geometry: Geometry, kind: str) -> str:
    wanted = published.ADAPTERS.get((family(geometry), "plus" if kind == "any" else kind))
    what = "IP-Adapter" if kind == "any" else f"IP-Adapter of kind {kind}"
    return f"No {what} for {geometry.describe()} was found. {_seen(files.ADAPTERS)} {_download(wanted, files.ADAPTERS)}"


def _no_encoder(name: str, identity: Identity) -> str:
    wanted = published.ENCODERS.get(identity.encoder)
    return (
        f"{name} reads {identity.encoder}, and no such encoder was found. "
        f"{_seen(files.ENCODERS)} {_download(wanted, files.ENCODERS)}"
    )


def _seen(category: str) -> str:
    listed = "; ".join(files.listing(category))
    return f"Looked in {', '.join(files.folders(category))} and saw {listed or 'no file'}."


def _download(wanted: Published | None, category: str) -> str:
    if wanted is None:
        return "No published file is known for it."
    return f"Download {wanted.url} to models/{category}/{wanted.file}."
