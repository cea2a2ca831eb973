"""Weight files on disk: their tensors' names, shapes and values, read and never executed."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .errors import UnsupportedCheckpoint, check_exists, report_damage
from .pickles import STARTS, flatten, unpickle_mapping

EXTENSIONS = (".safetensors", ".sft", ".bin", ".pt", ".pth", ".ckpt", ".pt2", ".pkl")
"""Endings of the files that ComfyUI lists as weight files, in small letters. The first bytes tell what a file holds."""

Shape = tuple[int, ...]
"""Lengths of a tensor's axes."""

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
_PART = 2**20  # bytes read at once
_MALFORMED = (struct.error, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)


class Entry(NamedTuple):
    """One tensor of a file, without its values.

    shape: lengths of its axes.
    dtype: name in safetensors' words: F16, BF16, I64, …
    """

    shape: Shape
    dtype: str


class Extent(NamedTuple):
    """Where the values of a tensor are in a safetensors file.

    entry: the tensor's shape and dtype.
    start: position of its first byte in the file.
    size: number of bytes.
    """

    entry: Entry
    start: int
    size: int


def is_weight_file(path: Path) -> bool:
    """Whether a file name has the ending of a weight file, in letters of any case."""
    return path.suffix.lower() in EXTENSIONS


def entries(path: str | Path) -> dict[str, Entry]:
    """Names, shapes and dtypes of a file's tensors; their values are not read.

    The keys of a pickle's nested dictionaries are joined with dots, so every container gives the same names.
    Raises UnsupportedCheckpoint when the file is missing, truncated, or no plain weight file.
    """
    path = _existing(path)
    if not is_pickle(path):
        return {name: extent.entry for name, extent in header(path).items()}
    named = flatten(unpickle_mapping(path, mapped=True))
    return {name: Entry(tuple(tensor.shape), dtype_name(tensor)) for name, tensor in named}


def tensors(path: str | Path) -> Mapping[str, torch.Tensor]:
    """The file's tensors by dotted name, each read into memory of its own when it is asked for.

    Tensors are not mapped from the file: a mapped tensor ends the whole process when the file becomes shorter, as it
    does when a download starts over. Raises UnsupportedCheckpoint, now or when a tensor is read, when the file is
    missing, truncated, or no plain weight file.
    """
    path = _existing(path)
    return dict(flatten(unpickle_mapping(path))) if is_pickle(path) else _LazyTensors(path, header(path))


class _LazyTensors(Mapping[str, torch.Tensor]):
    """Tensors of a safetensors file; each access reads the file again."""

    def __init__(self, path: Path, extents: Mapping[str, Extent]) -> None:
        self._path, self._extents = path, extents

    def __getitem__(self, name: str) -> torch.Tensor:
        extent = self._extents[name]
        try:
            with open(self._path, "rb", buffering=0) as file:
                return read_tensor(file, extent)
        except _MALFORMED as error:
            raise report_damage(self._path, error) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._extents)

    def __len__(self) -> int:
        return len(self._extents)


def joined_shape(shapes: Sequence[Shape]) -> Shape:
    """The shape of tensors one after another along their first axis; the first's, where they are not alike."""
    first, *others = shapes
    alike = bool(others and first) and all(shape == first for shape in others)
    return (first[0] * len(shapes), *first[1:]) if alike else first


def joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Tensors one after another along their first axis; one alone is itself."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def container(path: str | Path) -> str:
    """The kind of container, in words, such as `nested pickle`. Raises UnsupportedCheckpoint like `entries`."""
    path = _existing(path)
    if not is_pickle(path):
        return "flat safetensors"
    nested = any(isinstance(value, Mapping) for value in unpickle_mapping(path, mapped=True).values())
    return "nested pickle" if nested else "flat pickle"


# First bytes of files that people take for weights -> what such a file is.
_OTHER_STARTS = (
    (b"<", "is a web page"),
    (b"version ", "is only a Git LFS pointer to it"),
)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    check_exists(path)
    if not is_weight_file(path):
        raise UnsupportedCheckpoint(
            f"Choose a file that ends in one of {', '.join(EXTENSIONS)}; {path.name} is no weight file."
        )
    return path


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle, by its first bytes. Raises UnsupportedCheckpoint when they are of something else."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise report_damage(path, error) from error
    if not start:
        raise UnsupportedCheckpoint(f"Download {path.name} again; it is empty.")
    if start[8:] == b"{":  # a safetensors file: eight bytes of length may be anything, then JSON begins
        return False
    for first_bytes, found in _OTHER_STARTS:
        if start.startswith(first_bytes):
            raise UnsupportedCheckpoint(f"Download the file itself; {path.name} {found}.")
    return start.startswith(STARTS)


def header(path: Path) -> dict[str, Extent]:
    """Where the values of a safetensors file are, by name. Raises UnsupportedCheckpoint when it is damaged."""
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_LARGEST_HEADER, path.stat().st_size):
                raise ValueError("its header is longer than the file")
            rows = json.loads(file.read(length))
        rows.pop("__metadata__", None)
        _check_offsets(rows, path.stat().st_size - 8 - length)
        return {name: _extent(row, 8 + length) for name, row in rows.items()}
    except _MALFORMED as error:
        raise report_damage(path, error) from error


def metadata(path: str | Path) -> dict[str, str]:
    """What a safetensors file says of itself; nothing of other files. Raises UnsupportedCheckpoint for damaged ones."""
    path = _existing(path)
    if is_pickle(path):
        return {}
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            return dict(json.loads(file.read(length)).get("__metadata__") or {})
    except _MALFORMED as error:
        raise report_damage(path, error) from error


def _check_offsets(header: dict[str, dict], available: int) -> None:
    """Raises ValueError unless the tensors fill the file without holes and without overlaps."""
    ends = [row["data_offsets"][1] for row in header.values()]
    for needed in (max(ends, default=0), sum(ends) - sum(row["data_offsets"][0] for row in header.values())):
        if needed != available:
            raise ValueError(f"its tensors need {needed} bytes and it holds {available}")


def _extent(row: dict[str, Any], first: int) -> Extent:
    start, end = map(int, row["data_offsets"])
    return Extent(Entry(tuple(map(int, row["shape"])), str(row["dtype"])), first + start, end - start)


def read_tensor(file: FileIO, extent: Extent) -> torch.Tensor:
    """A tensor with its values. Raises ValueError when the file does not hold what its header says."""
    shape, name = extent.entry
    dtype = _DTYPES.get(name)
    if dtype is None:
        raise ValueError(f"no dtype {name} is known")
    if extent.size != prod(shape) * dtype.itemsize or any(size < 0 for size in shape):
        raise ValueError(f"its {extent.size} bytes are no tensor of shape {list(shape)} in {name}")
    memory = torch.empty(extent.size, dtype=torch.uint8)
    file.seek(extent.start)
    _fill(file, memory.numpy().data)
    return memory.view(dtype).view(shape)


def _fill(file: FileIO, memory: memoryview) -> None:
    """Read a file into memory through a small buffer.

    Linux is three times slower when it reads straight into memory that nobody has touched yet.
    """
    buffer, done = memoryview(bytearray(min(_PART, len(memory)))), 0
    while done < len(memory):
        count = file.readinto(buffer[: len(memory) - done])
        if not count:
            raise ValueError("it ends before its last tensor")
        memory[done : done + count] = buffer[:count]
        done += count


def dtype_name(tensor: torch.Tensor) -> str:
    """The name a safetensors header would have for the dtype: F16, BF16, I64, …"""
    name = str(tensor.dtype).removeprefix("torch.")
    return name.replace("bfloat", "BF").replace("float", "F").replace("uint", "U").replace("int", "I").upper()
