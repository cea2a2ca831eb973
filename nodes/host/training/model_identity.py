"""What tells one frozen model from another: its weights, and what patches such as LoRAs add to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def identity(*models: Any) -> str:
    """A digest of models with a patcher (CLIP, VAE, CLIP_VISION): the same wherever they are loaded.

    Weights count in half precision, in which most models are kept and many are loaded.
    """
    digest = hashlib.sha256()
    for part in (part for model in models for part in _parts(getattr(model, "patcher", None))):
        digest.update(part)
    return digest.hexdigest()


def _parts(patcher: Any) -> Iterator[bytes]:
    if patcher is None:
        return
    # The host adds patches to weights in place, and keeps the weights as they were in its backup.
    unpatched = {name: entry.weight for name, entry in patcher.backup.items()}
    for name, tensor in sorted(patcher.model.state_dict().items()):
        yield from _bytes_of(name)
        yield from _bytes_of(unpatched.get(name, tensor))
    for name, patches in sorted(patcher.patches.items(), key=lambda entry: str(entry[0])):
        yield from _bytes_of(name)
        yield from _bytes_of(patches)


def _bytes_of(value: Any) -> Iterator[bytes]:
    """The bytes of anything that a patch is made of."""
    if isinstance(value, Tensor):
        yield f"{list(value.shape)}".encode()
        yield _tensor_bytes(value)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _bytes_of(part)
    elif hasattr(value, "weights"):  # the host's weight adapters
        yield type(value).__name__.encode()
        yield from _bytes_of(value.weights)
    else:
        yield getattr(value, "__qualname__", repr(value)).encode("utf-8", "backslashreplace")


def _tensor_bytes(tensor: Tensor) -> bytes:
    # True for the host's quantized weights; Any, because mypy takes the function for a type guard.
    is_quantized: Any = is_traceable_wrapper_subclass(tensor)
    plain = tensor.dequantize() if is_quantized else tensor.detach().as_subclass(Tensor)
    half = plain.to("cpu", torch.float16) if plain.is_floating_point() else plain.cpu()
    return half.contiguous().flatten().view(torch.uint8).numpy().tobytes()
