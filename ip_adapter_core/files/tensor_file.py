"""Weight files on disk: their tensors' names, shapes and values, read and never executed."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Iterator, Mapping
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .errors import UnsupportedCheckpoint

EXTENSIONS = (".safetensors", ".sft", ".bin", ".pt", ".pth", ".ckpt", ".pt2", ".pkl")
"""What ComfyUI lists as weight files, in small letters. What is in a file is told from its first bytes."""

# Names of dtypes in the header of a safetensors file.
_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
}

_LARGEST_HEADER = 100 * 2**20  # safetensors' own limit
_PART = 2**20
_MALFORMED = (struct.error, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)


class Entry(NamedTuple):
    """One tensor of a file, without its values."""

    shape: tuple[int, ...]
    dtype: str


class _Extent(NamedTuple):
    """Where the values of a tensor are in a safetensors file, in bytes."""

    entry: Entry
    start: int
    size: int


def is_weight_file(path: Path) -> bool:
    """Whether a file is called as weight files are, in letters of any case."""
    return path.suffix.lower() in EXTENSIONS


def entries(path: str | Path) -> dict[str, Entry]:
    """Names, shapes and dtypes of a file's tensors; their values are not read.

    Nested dictionaries of a pickle are joined with dots, so every layout reads the same.
    Raises UnsupportedCheckpoint when the file is missing, truncated, or no plain weight file.
    """
    path = _existing(path)
    if not _is_pickle(path):
        return {key: place.entry for key, place in _header(path).items()}
    return {key: Entry(tuple(value.shape), _dtype_name(value)) for key, value in _flatten(_mapping(path, mapped=True))}


def tensors(path: str | Path) -> Mapping[str, torch.Tensor]:
    """The file's tensors by dotted name, each in memory of its own, read when it is asked for.

    What befalls the file later does not reach them: a tensor that is mapped instead ends the whole process when the
    file is cut short, as by a download that starts over. Raises UnsupportedCheckpoint, now or when a tensor is read,
    when the file is missing, truncated, or no plain weight file.
    """
    path = _existing(path)
    return dict(_flatten(_mapping(path))) if _is_pickle(path) else _Values(path, _header(path))


class _Values(Mapping[str, torch.Tensor]):
    """Tensors of a safetensors file, read anew at each look."""

    def __init__(self, path: Path, places: Mapping[str, _Extent]) -> None:
        self._path, self._places = path, places

    def __getitem__(self, name: str) -> torch.Tensor:
        place = self._places[name]
        try:
            with open(self._path, "rb", buffering=0) as file:
                return _values(file, place)
        except _MALFORMED as error:
            raise UnsupportedCheckpoint(_broken(self._path, error)) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def container(path: str | Path) -> str:
    """What kind of file it is, in words. Raises UnsupportedCheckpoint like `entries`."""
    path = _existing(path)
    if not _is_pickle(path):
        return "flat safetensors"
    nested = any(isinstance(value, Mapping) for value in _mapping(path, mapped=True).values())
    return "nested pickle" if nested else "flat pickle"


def unpickle(path: Path, instead: str = "Use the .safetensors version of this file.", mapped: bool = False) -> object:
    """What a pickle of any name holds; none of its code is run.

    instead: what to do where it wants to run code; mapped: for names and shapes alone, as the values, if anybody looked
    at them, would be those of the file. Raises UnsupportedCheckpoint when it does, or is missing or damaged.
    """
    _check_there(path)
    try:
        return _load_pickle(path, mapped)
    except pickle.UnpicklingError as error:
        raise UnsupportedCheckpoint(
            f"{path.name} is a pickle that wants to run code, or is damaged; nothing in it was run. {instead}"
        ) from error
    except Exception as error:  # torch's readers raise many kinds on a damaged archive
        raise UnsupportedCheckpoint(_broken(path, error)) from error


# First bytes of what people have instead of weights -> what to tell them.
_OTHER_STARTS = (
    (b"<", "is a web page, not the file itself; download the file."),
    (b"version ", "is only a Git LFS pointer to the file; download the file itself."),
)
_PICKLE_STARTS = (b"PK", b"\x80")


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise UnsupportedCheckpoint(f"{path.name} does not exist (looked at {path}).")


def _existing(path: str | Path) -> Path:
    path = Path(path)
    _check_there(path)
    if not is_weight_file(path):
        raise UnsupportedCheckpoint(f"{path.name} is no weight file: expected one of {', '.join(EXTENSIONS)}.")
    return path


def _is_pickle(path: Path) -> bool:
    """Whether a file is a pickle, by its first bytes. Raises UnsupportedCheckpoint when they are of something else."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UnsupportedCheckpoint(_broken(path, error)) from error
    if not start:
        raise UnsupportedCheckpoint(f"{path.name} is empty; download it again.")
    if start[8:] == b"{":  # the length before it may look like anything
        return False
    for sign, advice in _OTHER_STARTS:
        if start.startswith(sign):
            raise UnsupportedCheckpoint(f"{path.name} {advice}")
    return start.startswith(_PICKLE_STARTS)


def _header(path: Path) -> dict[str, _Extent]:
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_LARGEST_HEADER, path.stat().st_size):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        _check_extent(header, path.stat().st_size - 8 - length)
        return {key: _place(row, 8 + length) for key, row in header.items()}
    except _MALFORMED as error:
        raise UnsupportedCheckpoint(_broken(path, error)) from error


def _check_extent(header: dict[str, dict], available: int) -> None:
    """Tensors fill a file without holes, and none lies in another."""
    ends = [row["data_offsets"][1] for row in header.values()]
    for needed in (max(ends, default=0), sum(ends) - sum(row["data_offsets"][0] for row in header.values())):
        if needed != available:
            raise ValueError(f"its tensors need {needed} bytes and it holds {available}")


def _place(row: dict[str, Any], first: int) -> _Extent:
    start, end = map(int, row["data_offsets"])
    return _Extent(Entry(tuple(map(int, row["shape"])), str(row["dtype"])), first + start, end - start)


def _values(file: FileIO, place: _Extent) -> torch.Tensor:
    """A tensor's values. Raises ValueError when the file does not hold what its header says."""
    shape, name = place.entry
    dtype = _DTYPES.get(name)
    if dtype is None:
        raise ValueError(f"no dtype {name} is known")
    if place.size != prod(shape) * dtype.itemsize or any(size < 0 for size in shape):
        raise ValueError(f"{place.size} bytes are no tensor of shape {list(shape)} in {name}")
    memory = torch.empty(place.size, dtype=torch.uint8)
    file.seek(place.start)
    _fill(file, memory.numpy().data)
    return memory.view(dtype).view(shape)


def _fill(file: FileIO, memory: memoryview) -> None:
    """Read in parts: straight into memory that nobody has touched yet, Linux reads three times slower."""
    part, done = memoryview(bytearray(min(_PART, len(memory)))), 0
    while done < len(memory):
        count = file.readinto(part[: len(memory) - done])
        if not count:
            raise ValueError("it ends before its last tensor")
        memory[done : done + count] = part[:count]
        done += count


def _mapping(path: Path, mapped: bool = False) -> Mapping:
    loaded = unpickle(path, mapped=mapped)
    if not isinstance(loaded, Mapping):
        raise UnsupportedCheckpoint(f"{path.name} holds a {type(loaded).__name__}, not named tensors.")
    return loaded


def _load_pickle(path: Path, mapped: bool) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnicodeError:  # torch maps only files whose names are text
        with path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)  # the format before torch 1.6 cannot be mapped


def _flatten(nested: Mapping, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, torch.Tensor]]:
    if depth > 8:
        return
    for key, value in nested.items():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.", depth + 1)


def _dtype_name(tensor: torch.Tensor) -> str:
    """The name a safetensors header would have for the dtype: F16, BF16, I64, …"""
    name = str(tensor.dtype).removeprefix("torch.")
    return name.replace("bfloat", "BF").replace("float", "F").replace("uint", "U").replace("int", "I").upper()


def _broken(path: Path, error: Exception) -> str:
    return f"{path.name} is damaged or incomplete ({error}); download it again."
