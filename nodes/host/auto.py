"""Which adapter and which encoder on disk fit a MODEL, and what to download where there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from comfy.model_patcher import ModelPatcher

from ...ip_adapter_core.adapters.identity import Identity
from ...ip_adapter_core.catalogue import downloads
from ...ip_adapter_core.catalogue.choose import ANY, FilePair, choose, fitting, lacks_encoder
from ...ip_adapter_core.catalogue.downloads import Published
from ...ip_adapter_core.layers.families import describe
from ...ip_adapter_core.layers.layout import Geometry
from . import adapters, files, models, vision
from .adapters import LoadedAdapter

_REASONS = 3  # files that a message says why they cannot be used

Among = Callable[[Mapping[str, Identity]], Mapping[str, Identity]]


class Choice(NamedTuple):
    """Which files fit a model.

    pair: the adapter that fits best, and its encoder.
    report: what they are and what else fits, a line for each.
    """

    pair: FilePair
    report: str


class Found(NamedTuple):
    """What `find` has loaded.

    adapter: the adapter that fits best.
    encoder: the CLIP_VISION that it reads with, None where it reads no pictures.
    report: what they are and what else fits, a line for each.
    """

    adapter: LoadedAdapter
    encoder: Any
    report: str


def find(model: ModelPatcher, kind: str, among: Among = dict, asked: str = "") -> Found:
    """The best adapter of a kind for this model, and its encoder, loaded. Arguments and errors as in `choose_files`."""
    return load(choose_files(model, kind, among, asked))


def load(choice: Choice) -> Found:
    """The files of a choice, loaded."""
    name, encoder = choice.pair
    return Found(adapters.load(name), vision.load(encoder) if encoder else None, choice.report)


def choose_files(model: ModelPatcher, kind: str, among: Among = dict, asked: str = "") -> Choice:
    """The files of the best adapter of a kind for this model, and of its encoder.

    among: those of the adapters on disk that are meant. asked: what a preset calls them. Raises ValueError when one is
    missing: what to download and where to put it, what was looked for, and where.
    """
    geometry, family = models.geometry(model), models.family(model)
    on_disk = among(files.adapters())
    pair = choose(on_disk, files.encoders(), geometry, kind, family)
    if pair is None:
        raise ValueError(_no_adapter(geometry, family, kind, asked))
    if lacks_encoder(pair, on_disk):
        raise ValueError(_no_encoder(pair.adapter, on_disk[pair.adapter]))
    others = [name for name in fitting(on_disk, geometry, kind, family) if name != pair.adapter]
    return Choice(pair, _report(pair, others))


def _report(pair: FilePair, others: list[str]) -> str:
    chosen = [(files.ADAPTERS, pair.adapter), (files.ENCODERS, pair.encoder)]
    lines = [files.describe(category, name) for category, name in chosen if name]
    return "\n".join(lines + [f"also fits: {name}" for name in others])


def _no_adapter(geometry: Geometry, family: str, kind: str, asked: str) -> str:
    kinds = (ANY, "plus", "base") if kind == ANY else (kind,)
    published = next(filter(None, (downloads.ADAPTER_FILES.get((family, kind)) for kind in kinds)), None)
    what = "IP-Adapter" if kind == ANY else f"IP-Adapter of kind {kind}"
    what += f", preset {asked}," if asked else ""
    missing = f"no {what} for {describe(geometry, family)} was found"
    return f"{_get(published, files.ADAPTERS)}; {missing}. {_on_disk(files.ADAPTERS)}"


def _no_encoder(name: str, identity: Identity) -> str:
    published = downloads.ENCODER_FILES.get(identity.encoder or "")
    missing = f"{name} reads {identity.encoder}, and no such encoder was found"
    return f"{_get(published, files.ENCODERS)}; {missing}. {_on_disk(files.ENCODERS)}"


def _on_disk(category: str) -> str:
    """Where was looked, how many files were seen, and which of them cannot be used."""
    listed, unusable = files.names(category), files.unusable(category)
    seen = f"{len(listed)} other files" if len(listed) != 1 else "1 other file"
    reasons = f"; {len(unusable)} of them cannot be used: {' '.join(unusable[:_REASONS])}" if unusable else "."
    return f"Looked in {', '.join(files.folders(category))}, and saw {seen if listed else 'no file'}{reasons}"


def _get(published: Published | None, category: str) -> str:
    """What to do to have a file: the first words of the message."""
    if published is None:
        return (
            f"Choose another kind or model, or put a file for it into models/{category} (none is known to be published)"
        )
    return files.download(published, category)
