"""Which of the files on disk fit a model: decided by tensors; names only break ties between equal tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..adapters.identity import Identity
from ..adapters.variants import ENCODER_NAMES, VARIANTS, Variant
from ..layers.families import alike
from ..layers.families import family as family_of
from ..layers.layout import Geometry
from ..vision.encoder import Tower


class WantedKind(NamedTuple):
    """What a user may ask for: a row of KINDS.

    variants: names of the variants that it allows.
    wanted: words of which a file name should have one.
    avoided: words that a file name should not have.
    """

    variants: frozenset[str]
    wanted: tuple[str, ...] = ()
    avoided: tuple[str, ...] = ()


class NamedKind(NamedTuple):
    """A kind that only a file's name tells: a row of NAMED.

    variant: name of the variant whose tensors it has.
    word: what tells it in the file's name.
    """

    variant: str
    word: str


ANY = "any"
"""The choice of whatever reads pictures alone."""

NAMED: dict[str, NamedKind] = {
    "light": NamedKind("base", "light"),
    "plus face": NamedKind("plus", "face"),
    "composition": NamedKind("plus", "composition"),
    "InstantID": NamedKind("portrait unnorm", "instantid"),
}
"""Choices beside those that VARIANTS has."""

# Saved graphs have these words. A choice that is not here comes after them.
_ORDER = (
    *(ANY, "base", "light", "plus", "plus face", "full face", "composition"),
    *("FaceID", "FaceID-Plus", "portrait"),
)


def _read_choice(choice: str) -> WantedKind:
    if named := NAMED.get(choice):
        return WantedKind(frozenset({named.variant}), wanted=(named.word,))
    allowed = [it for it in VARIANTS if (it.reads_pictures_alone if choice == ANY else it.choice == choice)]
    names = frozenset(variant.name for variant in allowed)
    return WantedKind(names, avoided=tuple(named.word for named in NAMED.values() if named.variant in names))


_CHOICES = (ANY, *NAMED, *(variant.choice for variant in VARIANTS))

KINDS: dict[str, WantedKind] = {
    choice: _read_choice(choice) for choice in dict.fromkeys((*_ORDER, *_CHOICES)) if choice in _CHOICES
}
"""The menu of kinds, in its order."""


def _choices(of: Callable[[Variant], bool]) -> set[str]:
    """Those that allow a kind that is so."""
    names = {variant.name for variant in VARIANTS if of(variant)}
    named = {choice for choice, row in NAMED.items() if row.variant in names}
    return named | {variant.choice for variant in VARIANTS if variant.name in names}


_CHOICES_OF_FACES = _choices(lambda variant: variant.reads_faces)

OF_FACES: tuple[str, ...] = tuple(kind for kind in KINDS if kind in _CHOICES_OF_FACES)
"""Kinds whose adapters read faces, and not pictures alone."""

_CHOICES_OF_PICTURES = {ANY} | _choices(lambda variant: variant.reads_pictures_alone)

OF_PICTURES: tuple[str, ...] = tuple(kind for kind in KINDS if kind in _CHOICES_OF_PICTURES)
"""Kinds whose adapters need nothing but pictures."""

_WIDTHS: dict[str, Callable[[Tower], int]] = {
    "embeds": lambda tower: tower.embed_dim,
    "hidden": lambda tower: tower.width,
    "normed_hidden": lambda tower: tower.pooled_width,
    "levels": lambda tower: tower.width if tower.levels else 0,
}
"""What an adapter reads of an encoder last -> how wide a tower gives it, 0 for nothing of the kind."""

_CONSTRUCTIONS = ("SigLIP", "PE-Core", "EVA02")
"""Words in the names of towers that have widths of CLIP's and say other things."""


class FilePair(NamedTuple):
    """An adapter and the encoder it reads.

    adapter: its file name.
    encoder: its file name; None where the adapter reads none, and where there is none.
    """

    adapter: str
    encoder: str | None


def fitting(adapters: Mapping[str, Identity], geometry: Geometry, kind: str, family: str | None = None) -> list[str]:
    """Names of the adapters made for this geometry and kind, the best first.

    family: of the model, where its layers do not tell.
    """
    wish, geometries, family = KINDS[kind], alike(geometry), family or family_of(geometry)
    fit = [
        name
        for name, it in adapters.items()
        if it.geometry in geometries and it.family == family and it.variant.name in wish.variants
    ]
    return sorted(fit, key=lambda name: (*_rank(name, wish), -adapters[name].variant.preference, name))


def encoders_for(identity: Identity, encoders: Mapping[str, Tower]) -> list[str]:
    """Names of the encoders that an adapter can read, the one it was trained with first."""
    if identity.encoder is None:
        return []
    width = _WIDTHS[identity.variant.reads[-1]]
    fit = [
        name
        for name, tower in encoders.items()
        if width(tower) == identity.widths[-1] and _alike_built(identity.encoder, tower.name)
    ]
    return sorted(
        fit, key=lambda name: (identity.encoder not in (encoders[name].name, f"CLIP-{encoders[name].name}"), name)
    )


def _alike_built(wanted: str, found: str) -> bool:
    """Whether an encoder says what an adapter was trained to read: of a construction that is not CLIP's only the same.

    One that no published adapter was trained with is of any.
    """
    named = any(word in name for word in _CONSTRUCTIONS for name in (wanted, found))
    return wanted not in ENCODER_NAMES.values() or wanted == found or not named


def choose(
    adapters: Mapping[str, Identity],
    encoders: Mapping[str, Tower],
    geometry: Geometry,
    kind: str,
    family: str | None = None,
) -> FilePair | None:
    """The best adapter whose encoder is there too; one without its encoder when there is no other; None without any.

    family as in `fitting`.
    """
    pairs = [
        FilePair(name, next(iter(encoders_for(adapters[name], encoders)), None))
        for name in fitting(adapters, geometry, kind, family)
    ]
    return min(pairs, key=lambda pair: lacks_encoder(pair, adapters), default=None)


def lacks_encoder(pair: FilePair, adapters: Mapping[str, Identity]) -> bool:
    """Whether the adapter reads an encoder and none is there."""
    return pair.encoder is None and adapters[pair.adapter].encoder is not None


def _rank(name: str, wish: WantedKind) -> tuple[bool, bool]:
    lower = name.lower()
    lacks = bool(wish.wanted) and not any(word in lower for word in wish.wanted)
    return lacks, any(word in lower for word in wish.avoided)
