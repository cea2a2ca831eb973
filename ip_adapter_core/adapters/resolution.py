"""Which kind an adapter is where tensors do not tell: the user's word, then the file's hash, its name, a default."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from ..files.errors import UnsupportedCheckpoint
from .variants import VARIANTS, Variant

AUTO = "auto"
TENSORS = "its tensors"

# What a file name says of the kind, the more telling first.
_HINTS = (("plusv2", "FaceID-Plus v2"), ("plus", "FaceID-Plus v1"))

CHOICES = (AUTO, *(variant.name for variant in VARIANTS if variant.name in dict(_HINTS).values()))
"""What a user may say of a file; kinds that tensors tell are not asked for."""

# sha256 of published files -> their names. They name a file; a file that is not here is as good.
PUBLISHED = {
    "289b45f16d043d0bf542e45831f971dcdaabe18b656f11e86d9dfba7e9ee3369": "ip-adapter_sd15.safetensors",
    "0747d08db670535bfa286452a77d93cebad5c677b46d038543f9f2de8690bb26": "ip-adapter_sd15_light.safetensors",
    "350b63a57847c163e2e984b01090f85ffe60eaae20f32b2b2c9e1ccc7ddd972b": "ip-adapter_sd15_light_v11.bin",
    "a26f736af07bb341a83dfea23713531d0575760e8ed947c68cb31a4c62d9c90b": "ip-adapter_sd15_vit-G.safetensors",
    "a1c250be40455cc61a43da1201ec3f1edaea71214865fb47f57927e06cbe4996": "ip-adapter-plus_sd15.safetensors",
    "1c9edc21af6f737dc1d6e0e734190e976cfacf802d6b024b77aa3be922f7569b": "ip-adapter-plus-face_sd15.safetensors",
    "f4a17fb643bf876235a45a0e87a49da2855be6584b28ca04c62a97ab5ff1c6f3": "ip-adapter-full-face_sd15.safetensors",
    "ba1002529e783604c5f326d49f0122025392d1d20ac8d573b3eeb3e6dea4ebb6": "ip-adapter_sdxl.safetensors",
    "ebf05d918348aec7abb02a5e9ecef77e0aaea6914a5c4ea13f50d45eb1681831": "ip-adapter_sdxl_vit-h.safetensors",
    "3f5062b8400c94b7159665b21ba5c62acdcd7682262743d7f2aefedef00e6581": "ip-adapter-plus_sdxl_vit-h.safetensors",
    "677ad8860204f7d0bfba12d29e6c31ded9beefdf3e4bbd102518357d31a292c1": "ip-adapter-plus-face_sdxl_vit-h.safetensors",
    "201344e22e6f55849cf07ca7a6e53d8c3b001327c66cb9710d69fd5da48a8da7": "ip-adapter-faceid_sd15.bin",
    "26d0d86a1d60d6cc811d3b8862178b461e1eeb651e6fe2b72ba17aa95411e313": "ip-adapter-faceid-plusv2_sd15.bin",
    "a48cb4f89ed18e02c6000f65aa9efec452e87eaed4a1bc9fcf4a460c8d0e3bc6": "ip-adapter-faceid-portrait-v11_sd15.bin",
    "f455fed24e207c878ec1e0466b34a969d37bab857c5faa4e8d259a0b4ff63d7e": "ip-adapter-faceid_sdxl.bin",
    "c6945d82b543700cc3ccbb98d363b837e9c596281607857c74b713a876daf5fb": "ip-adapter-faceid-plusv2_sdxl.bin",
    "5631ce7824cdafd2db37c5e85b985730a95ff59c5b4fc80c2b79b0bee5711512": "ip-adapter-faceid-portrait_sdxl.bin",
    "220bb86e205393a3d0411631cb473caddbf35fd371be2905ca9008818170db55": "ip-adapter-faceid-portrait_sdxl_unnorm.bin",
}


class Evidence(NamedTuple):
    """What is known of a file beside its tensors; digest gives its sha256 and is asked only when that can decide."""

    choice: str = AUTO
    name: str = ""
    digest: Callable[[], str] = str


NOTHING = Evidence()
"""Where only tensors are known."""


class Decision(NamedTuple):
    """A kind, and what decided, in words."""

    variant: Variant
    rule: str


def evidence(path: str | Path, choice: str = AUTO) -> Evidence:
    """What a file on disk and a user's word may tell."""
    return Evidence(choice, Path(path).name, cache(partial(digest, path)))  # loading asks twice


def digest(path: str | Path) -> str:
    """The sha256 of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()


def decide(candidates: Sequence[Variant], known: Evidence) -> Decision:
    """One of the kinds that a file may be; the default, their first, when nothing tells.

    Raises UnsupportedCheckpoint when the user's word is none of them.
    """
    kinds = {variant.name: variant for variant in candidates}
    if known.choice not in (AUTO, *kinds):
        raise UnsupportedCheckpoint(f"This adapter is of kind {candidates[0].name}, not {known.choice}; choose auto.")
    if len(candidates) == 1:
        return Decision(candidates[0], TENSORS)
    rules = (
        ("your choice", lambda: known.choice),
        ("its sha256", lambda: _hinted(PUBLISHED.get(known.digest(), ""))),
        ("its name", lambda: _hinted(known.name)),
    )
    for rule, kind in rules:
        if (found := kind()) in kinds:
            return Decision(kinds[found], rule)
    return Decision(candidates[0], f"default, as {' and '.join(kinds)} have the same tensors")


def bare(name: str) -> str:
    """A file name as its words are looked for: in small letters and without what stands between them."""
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def _hinted(name: str) -> str | None:
    """The kind that a file name tells."""
    return next((kind for word, kind in _HINTS if word in bare(name)), None)
