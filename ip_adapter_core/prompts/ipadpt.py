"""Files of embeds that IPAdapter Plus saves (.ipadpt): the output of a vision encoder, before any adapter."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ..adapters.identity import Identity
from ..files.atomic import replacing
from ..files.errors import UnsupportedCheckpoint
from ..files.pickles import unpickle
from .features import AdapterInputs, Features

ENDING = ".ipadpt"

_FIELDS = {2: "embeds", 3: "hidden"}  # number of axes -> field of Features


def embeds(path: Path) -> Features:
    """The features in a file: embeds (images, embed) or hidden (images, patches, width), float32.

    Nothing in the file is executed. Raises UnsupportedCheckpoint, naming the file, when it is a pickle that wants to
    run code, damaged, or something else.
    """
    tensor = unpickle(path, instead="Do not use it if you do not know who made it.")
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or not tensor.is_floating_point():
        raise UnsupportedCheckpoint(
            f"Choose a file with the one tensor that IPAdapter Plus saves as embeds; {path.name} holds {_kind(tensor)}."
        )
    if tensor.ndim not in _FIELDS or not tensor.numel():
        raise UnsupportedCheckpoint(
            "Choose a file with embeds (images, embed) or hidden states (images, patches, width) of "
            f"a vision encoder; {path.name} holds a tensor of shape {list(tensor.shape)}."
        )
    if not tensor.isfinite().all():
        raise UnsupportedCheckpoint(f"Make {path.name} again; it contains values that are no numbers.")
    return Features(**{_FIELDS[tensor.ndim]: tensor.detach().to(torch.float32, copy=True)})


def save(tensor: Tensor, path: Path) -> None:
    """Write features of images as IPAdapter Plus does: the bare tensor, in a new file that is there whole or not."""
    with replacing(path) as unfinished:
        torch.save(tensor.detach().cpu().clone(), unfinished)


def read_inputs(path: Path, identity: Identity) -> AdapterInputs:
    """The features of a file for an adapter.

    Raises UnsupportedCheckpoint as `embeds` does, and ValueError when the adapter reads other features.
    """
    if identity.reads_faces:
        raise ValueError(
            "Use Face Embedding and Encode Face Prompt, or connect an adapter that reads pictures "
            f"alone; this {identity.variant.name} adapter reads faces, which files of embeds such as "
            f"{path.name} do not hold."
        )
    features, (field,), (width,) = embeds(path), identity.variant.reads, identity.widths
    tensor = getattr(features, field)
    if tensor is None or tensor.shape[-1] != width:
        raise ValueError(
            f"Connect an adapter of the kind that {path.name} was made for; it holds "
            f"{describe(features)}, and this {identity.variant.name} adapter reads {field} of width "
            f"{width} ({identity.encoder})."
        )
    return (tensor,)


def describe(features: Features) -> str:
    """The features of a file in words: `hidden of width 1280 (1 image)`."""
    ((field, tensor),) = ((field, tensor) for field, tensor in features._asdict().items() if tensor is not None)
    return f"{field} of width {tensor.shape[-1]} ({len(tensor)} image{'s' * (len(tensor) != 1)})"


def _kind(loaded: object) -> str:
    dtype = f" of {loaded.dtype}".replace("torch.", "") if isinstance(loaded, Tensor) else ""
    return f"a {type(loaded).__name__}{dtype}"
