"""Pickles: files of torch.save, of which no code is run, and the named tensors in them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from .errors import UnsupportedCheckpoint, check_exists, report_damage

STARTS = (b"PK", b"\x80")
"""First bytes of a pickle: the archive that torch writes since 1.6, and the plain pickle before it."""

_DEEPEST = 8  # dictionaries in dictionaries


def unpickle(path: Path, instead: str = "Use the .safetensors version of this file.", mapped: bool = False) -> object:
    """The object in a pickle of any file name; none of its code is run.

    instead: what the error advises when the pickle wants to run code. mapped: the values stay in the file, which is
    enough for names and shapes. Raises UnsupportedCheckpoint when the pickle wants to run code, is missing or damaged.
    """
    check_exists(path)
    try:
        return _load(path, mapped)
    except pickle.UnpicklingError as error:
        raise UnsupportedCheckpoint(
            f"{instead} {path.name} is a pickle that wants to run code, or is damaged; nothing in it was run."
        ) from error
    except Exception as error:  # torch's readers raise many kinds on a damaged archive
        raise report_damage(path, error) from error


def unpickle_mapping(path: Path, mapped: bool = False) -> Mapping:
    """The dictionary in a pickle. Raises UnsupportedCheckpoint like `unpickle`, and for any other object."""
    loaded = unpickle(path, mapped=mapped)
    if not isinstance(loaded, Mapping):
        raise UnsupportedCheckpoint(
            f"Choose another file; {path.name} holds a {type(loaded).__name__}, not named tensors."
        )
    return loaded


def flatten(nested: Mapping, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """The tensors of nested dictionaries, their keys joined with dots; other values are left out."""
    if depth > _DEEPEST:
        return
    for key, value in nested.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.", depth + 1)


def _load(path: Path, mapped: bool) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnicodeError:  # torch maps only files whose names are text
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # the format before torch 1.6 cannot be mapped
