"""Tensors that stay in their file and are read in parts, for weights that are more than what memory should hold.

They are read, not mapped: a mapped file ends the process when it becomes shorter.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from .errors import UnsupportedCheckpoint, report_damage
from .pickles import flatten, unpickle_mapping
from .tensor_file import Entry, Extent, dtype_name, header, is_pickle, read_tensor

PART = 32 * 2**20
"""Bytes that are read at once, if a row is not longer."""

State = tuple[int, int]
_LOCAL_HEADER, _LENGTHS = 30, slice(26, 30)  # of a record in a zip archive: its fixed part, and the lengths that follow
_DATA = "data"  # folder of torch's archives that the values are in


@dataclass(frozen=True)
class Stored:
    """A tensor whose values stay in a file.

    state: size and time of the file when it was looked at, in which the tensor is where extent says.
    """

    path: Path
    extent: Extent
    state: State

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""
        return self.extent.entry.shape

    def read(self) -> Tensor:
        """The whole tensor, in memory of its own. Raises UnsupportedCheckpoint as `parts` does."""
        return next(self._pieces([(0, self.shape)]))

    def parts(self, size: int = PART) -> Iterator[Tensor]:
        """The tensor in parts along its first axis, each in memory of its own, of about so many bytes.

        Raises UnsupportedCheckpoint when the file is gone, or was changed since it was looked at.
        """
        length, *others = self.shape
        at_once = self.rows_at_once(size)
        pieces = ((first, (min(at_once, length - first), *others)) for first in range(0, length, at_once))
        yield from self._pieces(pieces)

    def rows_at_once(self, size: int = PART) -> int:
        """How many rows the largest of the `parts` has."""
        length = self.shape[0]
        return min(length, max(1, size * length // max(self.extent.size, 1)))

    def _pieces(self, pieces: Iterable[tuple[int, tuple[int, ...]]]) -> Iterator[Tensor]:
        """Tensors of a shape that begin at a row."""
        entry, start, size = self.extent
        row = prod(self.shape[1:]) * (size // max(prod(self.shape), 1))
        try:
            if _state(self.path) != self.state:
                raise UnsupportedCheckpoint(f"Load {self.path.name} again; it was changed since it was loaded.")
            with open(self.path, "rb", buffering=0) as file:
                for first, shape in pieces:
                    many = prod(shape) * (size // max(prod(self.shape), 1))
                    yield read_tensor(file, Extent(entry._replace(shape=shape), start + first * row, many))
        except UnsupportedCheckpoint:
            raise
        except (OSError, ValueError) as error:
            raise report_damage(self.path, error) from error


def stored_tensors(path: str | Path) -> dict[str, Stored]:
    """The tensors of a file by dotted name, as `tensors` names them; none where their places cannot be told.

    That is so for pickles of before torch 1.6 and for compressed ones. Raises UnsupportedCheckpoint as `entries` does.
    """
    path = Path(path)
    state = _state(path)
    extents = _of_archive(path) if is_pickle(path) else header(path)
    return {name: Stored(path, extent, state) for name, extent in extents.items()}


def _state(path: Path) -> State:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _of_archive(path: Path) -> dict[str, Extent]:
    """Where the values of a pickle's tensors are, told by how they lie to each other where torch maps the file."""
    if not zipfile.is_zipfile(path):
        return {}
    named = dict(flatten(unpickle_mapping(path, mapped=True)))
    if not named or not all(tensor.is_contiguous() for tensor in named.values()):
        return {}
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in named.values()}
    base = _base(storages, _records(path))
    return {} if base is None else {name: _extent(tensor, base) for name, tensor in named.items()}


def _base(storages: Mapping[int, int], records: Mapping[int, int]) -> int | None:
    """The address that the file's first byte has, where storages lie as records do; None where that is not certain.

    storages: bytes by address. records: bytes by place in the file.
    """
    first = min(storages)
    possible = [first - place for place, size in records.items() if size == storages[first]]
    fitting = [
        base for base in possible if all(records.get(address - base) == size for address, size in storages.items())
    ]
    return fitting[0] if len(fitting) == 1 else None


def _records(path: Path) -> dict[int, int]:
    """Bytes of the values in an archive of torch, by their place in the file."""
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        rows = [row for row in archive.infolist() if _DATA in Path(row.filename).parts[1:-1]]
        plain = [row for row in rows if row.compress_type == zipfile.ZIP_STORED]
        return {_start(file, row.header_offset): row.file_size for row in plain}


def _start(file: BinaryIO, place: int) -> int:
    """Where the content of a record begins whose header is at a place."""
    file.seek(place)
    lengths = file.read(_LOCAL_HEADER)[_LENGTHS]
    return place + _LOCAL_HEADER + sum(int.from_bytes(lengths[at : at + 2], "little") for at in (0, 2))


def _extent(tensor: Tensor, base: int) -> Extent:
    shape = tuple(tensor.shape)
    return Extent(Entry(shape, dtype_name(tensor)), tensor.data_ptr() - base, prod(shape) * tensor.element_size())
