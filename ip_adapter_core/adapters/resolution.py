"""Which of several kinds with equal tensors a file is: by the user's choice, then its sha256, its name, a default."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import metadata
from .variants import VARIANTS, Variant

AUTO = "auto"
TENSORS = "its tensors"

# Word in a file name -> kind; the longer word comes first.
_HINTS = (("plusv2", "FaceID-Plus v2"), ("plus", "FaceID-Plus v1"))

CHOICES = (AUTO, *(variant.name for variant in VARIANTS if variant.name in dict(_HINTS).values()))
"""What a user may choose; kinds that tensors identify are not offered."""

# sha256 of published files -> their names. The table only names files; a file that is not in it works as well.
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
    """Facts about a file beside its tensors.

    choice: a row of CHOICES.
    name: file name.
    digest: computes the sha256; called only when that can decide.
    metadata: reads what the file says of itself; called only where that matters.
    """

    choice: str = AUTO
    name: str = ""
    digest: Callable[[], str] = str
    metadata: Callable[[], Mapping[str, str]] = dict


NOTHING = Evidence()
"""The evidence of a file of which only the tensors are known."""


class Decision(NamedTuple):
    """Which kind a file is.

    variant: the kind.
    rule: what decided, in words.
    """

    variant: Variant
    rule: str


def gather_evidence(path: str | Path, choice: str = AUTO) -> Evidence:
    """The evidence of a file on disk, with a user's choice."""
    digest_once = cache(partial(digest, path))  # loading asks twice
    return Evidence(choice, Path(path).name, digest_once, partial(metadata, path))


def digest(path: str | Path) -> str:
    """The sha256 of a file."""
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(2**20):
            sha256.update(part)
    return sha256.hexdigest()


def decide(candidates: Sequence[Variant], evidence: Evidence) -> Decision:
    """One of the kinds that a file may be; the first of them when no evidence decides.

    Raises UnsupportedCheckpoint when the user's choice is none of them.
    """
    kinds = {variant.name: variant for variant in candidates}
    if evidence.choice not in (AUTO, *kinds):
        raise UnsupportedCheckpoint(
            f"Set variant to auto; this adapter is of kind {candidates[0].name}, not {evidence.choice}."
        )
    if len(candidates) == 1:
        return Decision(candidates[0], TENSORS)
    rules = (
        ("your choice", lambda: evidence.choice),
        ("its sha256", lambda: _find_hint(PUBLISHED.get(evidence.digest(), ""))),
        ("its name", lambda: _find_hint(evidence.name)),
    )
    for rule, kind in rules:
        if (name := kind()) in kinds:
            return Decision(kinds[name], rule)
    return Decision(candidates[0], f"default, as {' and '.join(kinds)} have the same tensors")


def bare(name: str) -> str:
    """A file name in small letters and without separators, to search for words in it."""
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def _find_hint(name: str) -> str | None:
    """The kind whose word is in a file name."""
    return next((kind for word, kind in _HINTS if word in bare(name)), None)
