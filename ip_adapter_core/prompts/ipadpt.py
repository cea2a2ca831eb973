"""Files of embeds that IPAdapter Plus saves (.ipadpt): what a vision encoder said of images, before any adapter."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..adapters.identity import Identity
from ..files.errors import UnsupportedCheckpoint
from ..files.pickles import unpickle
from .prompt import AdapterInputs, Features

ENDING = ".ipadpt"

_FIELDS = {2: "embeds", 3: "hidden"}  # by axes


def embeds(path: Path) -> Features:
    """What an encoder said of images: embeds (images, embed) or hidden (images, patches, width), float32.

    Nothing in the file is executed. Raises UnsupportedCheckpoint, naming the file, when it is a pickle that wants to
    run code, damaged, or something else.
    """
    found = unpickle(path, instead="Do not use it if you do not know who made it.")
    if not isinstance(found, Tensor) or found.layout != torch.strided or not found.is_floating_point():
        raise UnsupportedCheckpoint(
            f"{path.name} holds {_kind(found)}; needed is the one tensor that IPAdapter Plus saves as embeds."
        )
    if found.ndim not in _FIELDS or not found.numel():
        raise UnsupportedCheckpoint(
            f"{path.name} holds a tensor of shape {list(found.shape)}; needed are embeds (images, embed) or hidden "
            "states (images, patches, width) of a vision encoder."
        )
    if not found.isfinite().all():
        raise UnsupportedCheckpoint(f"{path.name} contains values that are no numbers; make it again.")
    return Features(**{_FIELDS[found.ndim]: found.detach().to(torch.float32, copy=True)})


def reading(path: Path, identity: Identity) -> AdapterInputs:
    """What an adapter reads of a file.

    Raises UnsupportedCheckpoint as `embeds` does, and ValueError when the adapter reads something else.
    """
    if identity.reads_faces:
        raise ValueError(
            f"This {identity.variant.name} adapter reads faces, which files of embeds such as {path.name} do not hold. "
            "Use Face Embedding and Encode Face Prompt, or connect an adapter that reads pictures alone."
        )
    found, (field,), (width,) = embeds(path), identity.variant.reads, identity.widths
    read = getattr(found, field)
    if read is None or read.shape[-1] != width:
        raise ValueError(
            f"{path.name} holds {describe(found)}; this {identity.variant.name} adapter reads {field} of width {width} "
            f"({identity.encoder}). Connect an adapter of the kind that the file was made for."
        )
    return (read,)


def describe(found: Features) -> str:
    """What a file holds, in words: `hidden of width 1280 (1 image)`."""
    ((field, tensor),) = ((field, tensor) for field, tensor in found._asdict().items() if tensor is not None)
    return f"{field} of width {tensor.shape[-1]} ({len(tensor)} image{'s' * (len(tensor) != 1)})"


def _kind(found: object) -> str:
    more = f" of {found.dtype}".replace("torch.", "") if isinstance(found, Tensor) else ""
    return f"a {type(found).__name__}{more}"
