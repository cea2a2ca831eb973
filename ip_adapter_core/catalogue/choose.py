"""Which of the files on disk fit a model: decided by tensors; names only break ties between equal tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..adapters.identity import Identity
from ..adapters.variants import ENCODED, VARIANTS
from ..layers.families import family as family_of
from ..layers.layout import Geometry
from ..vision.encoder import Tower


class WantedKind(NamedTuple):
    """What a user may ask for: variants in order of preference, and words in file names that speak for or against."""

    variants: tuple[str, ...]
    wanted: tuple[str, ...] = ()
    avoided: tuple[str, ...] = ()


_OF_PICTURES = tuple(variant.name for variant in VARIANTS if variant.reads[0] in ENCODED)

KINDS: dict[str, WantedKind] = {
    "any": WantedKind(_OF_PICTURES, avoided=("face", "composition", "light")),
    "base": WantedKind(("base",), avoided=("light",)),
    "light": WantedKind(("base",), wanted=("light",)),
    "plus": WantedKind(("plus", "Kolors plus"), avoided=("face", "composition")),
    "plus face": WantedKind(("plus",), wanted=("face",)),
    "full face": WantedKind(("full face",)),
    "composition": WantedKind(("plus",), wanted=("composition",)),
    "FaceID": WantedKind(("FaceID",)),
    "FaceID-Plus": WantedKind(("FaceID-Plus v2", "FaceID-Plus v1", "Kolors FaceID-Plus")),
    "portrait": WantedKind(("portrait", "portrait unnorm")),
}


class Pair(NamedTuple):
    """An adapter and the encoder it reads, by file name; None where it reads none, and where there is none."""

    adapter: str
    encoder: str | None


def fitting(adapters: Mapping[str, Identity], geometry: Geometry, kind: str, family: str | None = None) -> list[str]:
    """Names of the adapters made for this geometry and kind, the best first.

    family: of the model, where its layers do not tell.
    """
    wish, made_for = KINDS[kind], (geometry, family or family_of(geometry))
    fit = [
        name
        for name, it in adapters.items()
        if (it.geometry, it.family) == made_for and it.variant.name in wish.variants
    ]
    return sorted(fit, key=lambda name: (*_rank(name, wish), wish.variants.index(adapters[name].variant.name), name))


def encoders_for(identity: Identity, encoders: Mapping[str, Tower]) -> list[str]:
    """Names of the encoders that an adapter can read, the one it was trained with first."""
    if identity.encoder is None:
        return []
    width = {"embeds": "embed_dim", "hidden": "width"}[identity.variant.reads[-1]]
    fit = [name for name, tower in encoders.items() if getattr(tower, width) == identity.widths[-1]]
    return sorted(fit, key=lambda name: (f"CLIP-{encoders[name].name}" != identity.encoder, name))


def choose(
    adapters: Mapping[str, Identity],
    encoders: Mapping[str, Tower],
    geometry: Geometry,
    kind: str,
    family: str | None = None,
) -> Pair | None:
    """The best adapter whose encoder is there too; one without its encoder when there is no other; None without any.

    family as in `fitting`.
    """
    pairs = [
        Pair(name, next(iter(encoders_for(adapters[name], encoders)), None))
        for name in fitting(adapters, geometry, kind, family)
    ]
    return min(pairs, key=lambda pair: lacks_encoder(pair, adapters), default=None)


def lacks_encoder(pair: Pair, adapters: Mapping[str, Identity]) -> bool:
    """Whether the adapter reads an encoder and none is there."""
    return pair.encoder is None and adapters[pair.adapter].encoder is not None


def _rank(name: str, wish: WantedKind) -> tuple[bool, bool]:
    lower = name.lower()
    lacks = bool(wish.wanted) and not any(word in lower for word in wish.wanted)
    return lacks, any(word in lower for word in wish.avoided)
