"""Encoders that may be as wide and say other things: whether the connected one is surely not that of the training."""

from __future__ import annotations

from typing import NamedTuple

from ..adapters.identity import Identity
from ..adapters.variants import ENCODER_NAMES
from ..vision.towers import Tower

CLIP, SIGLIP, PE_CORE, EVA02 = "CLIP", "SigLIP", "PE-Core", "EVA02"

_SIGNS = {SIGLIP: "siglip", PE_CORE: "pe_core", EVA02: "eva02"}  # in timm's names of models


class Build(NamedTuple):
    """How an encoder is built, as it was trained.

    construction: CLIP, SIGLIP, PE_CORE or EVA02; None for others.
    layers: number of transformer layers.
    patch: side of a patch in pixels.
    tokens: number of hidden states.
    """

    construction: str | None
    layers: int
    patch: int
    tokens: int

    def describe(self) -> str:
        """For people, in the middle of a sentence."""
        sizes = f"{self.layers} layers, patches of {self.patch} px and {self.tokens} tokens"
        return f"{self.construction or 'an encoder'} with {sizes}"


BUILDS = {
    "ViT-SO400M-14-SigLIP-384": Build(SIGLIP, 27, 14, 729),
    "ViT-B-16-SigLIP2-512": Build(SIGLIP, 12, 16, 1024),
    "EVA02-L-14-336": Build(EVA02, 24, 14, 577),
    "PE-Core-L-14-336": Build(PE_CORE, 24, 14, 577),
}
"""By name of an encoder of ENCODER_NAMES that is not CLIP. Among CLIPs any is read whose widths are right."""


def read_build(tower: Tower) -> Build:
    """How a tower is built, whatever its resolution is now."""
    timm = str(tower.config["vision_cfg"].get("timm_model_name", ""))
    of_timm = next((construction for construction, sign in _SIGNS.items() if sign in timm), None)
    grid = tower.positions.grid if tower.positions else tower.grid
    return Build(of_timm if timm else CLIP, tower.layers, tower.patch, tower.tokens - tower.grid**2 + grid**2)


def check_own_encoder(identity: Identity, connected: str, build: Build) -> None:
    """Raises ValueError where an adapter whose kind has an encoder of its own gets one that is surely another.

    connected: the encoder's name for the user. Encoders with the same tensors cannot be told apart, and pass.
    """
    known = identity.variant.own_encoder and identity.encoder in ENCODER_NAMES.values()
    own = BUILDS.get(str(identity.encoder))
    if known and _differs(own, build):
        told = f" ({own.describe()})" if own else ""
        raise ValueError(
            f"Load {identity.encoder} in place of the connected {connected}: this {identity.variant.name} adapter "
            f"reads that encoder alone{told}, and the connected one is {build.describe()}."
        )


def _differs(own: Build | None, build: Build) -> bool:
    """Whether an encoder is surely not an adapter's own, of which nothing is known where it is a CLIP.

    Published encoders of one construction and width have as many layers; of one that has not, nothing is known.
    """
    if own is None:
        return build.construction not in (CLIP, None)
    if build.construction not in (own.construction, None):
        return True
    return build.layers == own.layers and build[1:] != own[1:]
