"""Which of the files on disk fit a model: decided by tensors; names only break ties between equal tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .adapter import Identity
from .layout import Geometry
from .variants import VARIANTS
from .vision import Tower


class Kind(NamedTuple):
    """What a user may ask for: variants in order of preference, and words in file names that speak for or against."""

    variants: tuple[str, ...]
    wanted: tuple[str, ...] = ()
    avoided: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "any": Kind(tuple(variant.name for variant in VARIANTS), avoided=("face", "composition", "light")),
    "base": Kind(("base",), avoided=("light",)),
    "light": Kind(("base",), wanted=("light",)),
    "plus": Kind(("plus",), avoided=("face", "composition")),
    "plus face": Kind(("plus",), wanted=("face",)),
    "full face": Kind(("full face",)),
    "composition": Kind(("plus",), wanted=("composition",)),
}


class Pair(NamedTuple):
    """An adapter and the encoder it reads, by file name."""

    adapter: str
    encoder: str | None


def fitting(adapters: Mapping[str, Identity], geometry: Geometry, kind: str) -> list[str]:
    """Names of the adapters made for this geometry and kind, the best first."""
    wish = KINDS[kind]
    fit = [name for name, it in adapters.items() if it.geometry == geometry and it.variant.name in wish.variants]
    return sorted(fit, key=lambda name: (*_rank(name, wish), wish.variants.index(adapters[name].variant.name), name))


def encoders_for(identity: Identity, encoders: Mapping[str, Tower]) -> list[str]:
    """Names of the encoders that an adapter can read, the one it was trained with first."""
    width = {"embeds": "embed_dim", "hidden": "width"}[identity.variant.reads]
    fit = [name for name, tower in encoders.items() if getattr(tower, width) == identity.input_width]
    return sorted(fit, key=lambda name: (f"CLIP-{encoders[name].name}" != identity.encoder, name))


def choose(
    adapters: Mapping[str, Identity], encoders: Mapping[str, Tower], geometry: Geometry, kind: str
) -> Pair | None:
    """The best adapter whose encoder is there too; one without its encoder when there is no other; None without any."""
    pairs = [
        Pair(name, next(iter(encoders_for(adapters[name], encoders)), None))
        for name in fitting(adapters, geometry, kind)
    ]
    return min(pairs, key=lambda pair: pair.encoder is None, default=None)


def _rank(name: str, wish: Kind) -> tuple[bool, bool]:
    lower = name.lower()
    lacks = bool(wish.wanted) and not any(word in lower for word in wish.wanted)
    return lacks, any(word in lower for word in wish.avoided)
