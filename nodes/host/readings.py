"""What the nodes that do everything read of a picture, kept as long as ComfyUI keeps the picture itself.

So another weight or mask encodes nothing again, and a picture that ComfyUI forgets takes with it what was read of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple
from weakref import ref

from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ...ip_adapter_core.catalogue.choose import FilePair
from ...ip_adapter_core.prompts.prompt import ImagePrompt
from . import auto, encoding, files
from .adapters import LoadedAdapter
from .encoding import Look

_MOST = 16  # readings of one picture: as many nodes, or cards of a moodboard, may read it in other ways

_kept: Any = WeakIdKeyDictionary()  # picture -> key -> reading


class Reading(NamedTuple):
    """What was read of pictures.

    found: with which adapter and encoder.
    prompt: their image prompt.
    seen: the pictures as the encoder saw them, (images, size, size, 3).
    """

    found: auto.Found
    prompt: ImagePrompt
    seen: Tensor


def read(model: ModelPatcher, images: Tensor, kind: str, fit: str, mask: Tensor | None = None) -> Reading:
    """The image prompt of pictures, by the adapter and encoder on disk that fit a model.

    kind: a row of choose.KINDS; fit: a row of preprocess.FITS; mask: which part of each picture is read. Raises
    ValueError as `auto.find` and `encode_prompt` do.
    """
    choice = auto.choose_files(model, kind)
    key = (choice, *_fingerprints(choice.pair), fit, _digest(mask))
    reading: Reading = _once(images, key, lambda: _read(choice, images, Look(fit, mask=mask)))
    return reading


def encode(adapter: LoadedAdapter, encoder: Any, images: Tensor, look: Look) -> tuple[ImagePrompt, Tensor]:
    """As `encode_prompt`, which is asked once for as long as all of these are there; of a look count fit, mask and
    instruction."""
    told = None if look.instruction is None else ref(look.instruction)
    key = (ref(adapter), ref(encoder), look.fit, _digest(look.mask), told)
    read: tuple[ImagePrompt, Tensor] = _once(
        images, key, lambda: encoding.encode_prompt(adapter, encoder, images, look)
    )
    return read


def _once(images: Tensor, key: Hashable, make: Callable[[], Any]) -> Any:
    """What is kept of pictures under a key, made where it is not there."""
    of_images = _kept.setdefault(images, {})
    if key not in of_images:
        of_images[key] = make()
        for old in list(of_images)[:-_MOST]:
            del of_images[old]
    return of_images[key]


def _read(choice: auto.Choice, images: Tensor, look: Look) -> Reading:
    found = auto.load(choice)
    return Reading(found, *encoding.encode_prompt(found.adapter, found.encoder, images, look))


def _digest(mask: Tensor | None) -> tuple[object, ...]:
    """Equal for equal masks."""
    if mask is None:
        return ()
    return mask.shape, hashlib.sha256(mask.detach().cpu().float().contiguous().numpy().tobytes()).digest()


def _fingerprints(pair: FilePair) -> tuple[files.Fingerprint, ...]:
    return files.fingerprint(files.ADAPTERS, pair.adapter), files.fingerprint(files.ENCODERS, pair.encoder)
