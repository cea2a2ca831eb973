"""TABLE of the presets of IPAdapter Plus's unified loaders: which adapter each asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..adapters.identity import Identity
from ..catalogue.choose import KINDS
from ..text.wording import quoted
from .signatures import COMMUNITY_PRESETS, FACE_PRESETS, PLAIN_PRESETS

_VIT_G = "CLIP-ViT-bigG-14"


class Wish(NamedTuple):
    """What a preset asks for: a row of PRESETS.

    kind: a row of choose.KINDS.
    variants: those of the kind that are meant; none for all.
    encoder: that the adapter was trained with, where that tells it from others; None for any.
    unless: the encoder by which an adapter belongs to another preset.
    """

    kind: str
    variants: tuple[str, ...] = ()
    encoder: str | None = None
    unless: str | None = None

    def among(self, adapters: Mapping[str, Identity]) -> dict[str, Identity]:
        """Those adapters that are meant; which of them fits a model is another question."""
        return {name: identity for name, identity in adapters.items() if self._means(identity)}

    def _means(self, identity: Identity) -> bool:
        variants = self.variants or KINDS[self.kind].variants
        has_encoder = self.encoder in (None, identity.encoder) and (self.unless or "") != identity.encoder
        return identity.variant.name in variants and has_encoder


_WISHES = (
    Wish("light"),
    Wish("base", unless=_VIT_G),
    Wish("base", encoder=_VIT_G),
    Wish("plus"),
    Wish("plus face"),
    Wish("full face"),
    Wish("FaceID"),
    Wish("FaceID-Plus", ("FaceID-Plus v1",)),
    Wish("FaceID-Plus", ("FaceID-Plus v2", "Kolors FaceID-Plus")),
    Wish("portrait", ("portrait",)),
    Wish("portrait", ("portrait unnorm",)),
    Wish("composition"),
    Wish("plus", ("Kolors plus",)),
)

PRESETS: dict[str, Wish] = dict(zip((*PLAIN_PRESETS, *FACE_PRESETS, *COMMUNITY_PRESETS), _WISHES, strict=True))

_BY_LETTERS = {name.casefold(): wish for name, wish in PRESETS.items()}


def read_preset(name: str) -> Wish:
    """What a preset asks for, whatever the case of its letters. Raises ValueError for a word that is none."""
    wish = _BY_LETTERS.get(str(name).casefold())
    if wish is None:
        raise ValueError(f"Set preset to one of {', '.join(PRESETS)}; found {quoted(name)}.")
    return wish
