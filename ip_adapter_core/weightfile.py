"""Weight files on disk: their tensors' names, shapes and values, mapped and never executed."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load

from .wording import legible

EXTENSIONS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_LARGEST_HEADER = 100 * 2**20  # safetensors' own limit
_MALFORMED = (struct.error, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)


class UnsupportedCheckpoint(ValueError):
    """A weight file that cannot be used: one sentence with what was found and what is needed."""


class Entry(NamedTuple):
    """One tensor of a file, without its values."""

    shape: tuple[int, ...]
    dtype: str


def entries(path: str | Path) -> dict[str, Entry]:
    """Names, shapes and dtypes of a file's tensors; a safetensors file has only its header read.

    Nested dictionaries of a pickle are joined with dots, so every layout reads the same.
    Raises UnsupportedCheckpoint when the file is missing, truncated, or no plain weight file.
    """
    path = _existing(path)
    if path.suffix == ".safetensors":
        return _header(path)
    return {key: Entry(tuple(value.shape), _dtype_name(value)) for key, value in _unpickled(path).items()}


def tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """The file's tensors by dotted name, mapped from disk rather than copied.

    Raises UnsupportedCheckpoint when the file is missing, truncated, or no plain weight file.
    """
    path = _existing(path)
    if path.suffix != ".safetensors":
        return _unpickled(path)
    try:
        if legible(str(path)) != str(path):  # safetensors opens only files whose names are text
            return load(path.read_bytes())
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UnsupportedCheckpoint(_broken(path, error)) from error


def container(path: str | Path) -> str:
    """What kind of file it is, in words. Raises UnsupportedCheckpoint like `entries`."""
    path = _existing(path)
    if path.suffix == ".safetensors":
        return "flat safetensors"
    nested = any(isinstance(value, Mapping) for value in _mapping(path).values())
    return "nested pickle" if nested else "flat pickle"


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise UnsupportedCheckpoint(f"{path.name} does not exist (looked at {path}).")
    if path.suffix not in EXTENSIONS:
        raise UnsupportedCheckpoint(f"{path.name} is no weight file: expected one of {', '.join(EXTENSIONS)}.")
    return path


def _header(path: Path) -> dict[str, Entry]:
    try:
        with open(path, "rb") as file:
            start = file.read(9)
            _check_start(path, start)
            (length,) = struct.unpack("<Q", start[:8])
            file.seek(8)
            if length > min(_LARGEST_HEADER, path.stat().st_size):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        _check_extent(header, path.stat().st_size - 8 - length)
        return {key: Entry(tuple(map(int, row["shape"])), str(row["dtype"])) for key, row in header.items()}
    except UnsupportedCheckpoint:
        raise
    except _MALFORMED as error:
        raise UnsupportedCheckpoint(_broken(path, error)) from error


# First bytes of what people have under the name .safetensors -> what to tell them.
_OTHER_STARTS = (
    (b"PK", "is a pickle file under the name .safetensors; rename it to .bin."),
    (b"\x80", "is a pickle file under the name .safetensors; rename it to .bin."),
    (b"<", "is a web page, not the file itself; download the file."),
    (b"version ", "is only a Git LFS pointer to the file; download the file itself."),
)


def _check_start(path: Path, start: bytes) -> None:
    if not start:
        raise UnsupportedCheckpoint(f"{path.name} is empty; download it again.")
    for sign, advice in _OTHER_STARTS:
        if start.startswith(sign) and start[8:] != b"{":  # the length of a real header may look like anything
            raise UnsupportedCheckpoint(f"{path.name} {advice}")


def _check_extent(header: dict[str, dict], available: int) -> None:
    needed = max((row["data_offsets"][1] for row in header.values()), default=0)
    if needed != available:
        raise ValueError(f"its tensors need {needed} bytes and it holds {available}")


def _unpickled(path: Path) -> dict[str, torch.Tensor]:
    return dict(_flattened(_mapping(path)))


def _mapping(path: Path) -> Mapping:
    try:
        loaded = _load_pickle(path)
    except pickle.UnpicklingError as error:
        raise UnsupportedCheckpoint(
            f"{path.name} is a pickle that wants to run code, or is damaged; nothing in it was run. "
            "Use the .safetensors version of this file."
        ) from error
    except Exception as error:  # torch's readers raise many kinds on a damaged archive
        raise UnsupportedCheckpoint(_broken(path, error)) from error
    if not isinstance(loaded, Mapping):
        raise UnsupportedCheckpoint(f"{path.name} holds a {type(loaded).__name__}, not named tensors.")
    return loaded


def _load_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except UnicodeError:  # torch maps only files whose names are text
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # the format before torch 1.6 cannot be mapped


def _flattened(nested: Mapping, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    if depth > 8:
        return
    for key, value in nested.items():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{key}.", depth + 1)


def _dtype_name(tensor: torch.Tensor) -> str:
    """The name a safetensors header would have for the dtype: F16, BF16, I64, …"""
    name = str(tensor.dtype).removeprefix("torch.")
    return name.replace("bfloat", "BF").replace("float", "F").replace("uint", "U").replace("int", "I").upper()


def _broken(path: Path, error: Exception) -> str:
    return f"{path.name} is damaged or incomplete ({error}); download it again."
