"""Encoded examples on disk: files of many rows, written one after another, read row by row."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..files.atomic import save_whole
from ..text.wording import shown

SHARD = 256  # examples in a file; at most these are lost when the power fails

_KEYS = "keys"

Rows = dict[str, Tensor]

_log = logging.getLogger(__name__)


class RowRange(NamedTuple):
    """Where an example is on disk.

    shard: path of its file.
    row: number of its row in the file, from 0.
    """

    shard: Path
    row: int


@dataclass(eq=False)
class CachedExamples:
    """Examples that are read from disk when they are needed.

    ranges: where each example is.
    nulls: values of dropped conditions, by name, (1, …) each.
    identity: of the pictures and captions, independent of their folders.
    """

    ranges: tuple[RowRange, ...]
    nulls: Mapping[str, Tensor]
    identity: str = ""

    def __len__(self) -> int:
        return len(self.ranges)

    def rows(self, indices: Sequence[int]) -> Rows:
        """The named tensors of these examples, a row for each, in this order; float32, or whole numbers."""
        # Tensors made in inference mode, in which ComfyUI runs nodes, could not be trained on.
        with torch.inference_mode(False):
            wanted = [self.ranges[int(index)] for index in indices]
            by_range = {at: row for shard, rows in _by_shard(wanted).items() for at, row in _read(shard, rows)}
            return {name: torch.stack([by_range[at][name] for at in wanted]) for name in by_range[wanted[0]]}


class Shards:
    """A context that writes examples in files of SHARD examples; the last file is written also after an exception."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.keys: list[str] = []
        self.rows: list[Rows] = []

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *error: object) -> None:
        self.write()

    def add(self, keys: Sequence[str], rows: Rows) -> None:
        """Add examples with their keys; each tensor has a row for each example."""
        self.keys += keys
        self.rows.append({name: values.cpu() for name, values in rows.items()})
        if len(self.keys) >= SHARD:
            self.write()

    def write(self) -> None:
        """Write the examples that were added since the last call."""
        if self.keys:
            stacked = {name: _to_half(torch.cat([part[name] for part in self.rows])) for name in self.rows[0]}
            free = (path for n in count() if not (path := self.home / f"shard-{n:05d}.safetensors").exists())
            write(next(free), stacked, {_KEYS: json.dumps(self.keys)})
        self.keys, self.rows = [], []


def find_rows(home: Path) -> dict[str, RowRange]:
    """Where each example of a folder is, by key; the header of each file is read once."""
    return {key: RowRange(shard, row) for shard in sorted(home.glob("shard-*")) for row, key in enumerate(_keys(shard))}


def write(path: Path, tensors: Rows, metadata: dict[str, str] | None = None) -> None:
    """Write tensors of any device to a file."""
    owned = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_whole(owned, path, metadata)


def _to_half(values: Tensor) -> Tensor:
    """The values in half precision unless they are too large for it; whole numbers stay as they are."""
    if not values.is_floating_point():
        return values
    half = values.half()
    return half if half.isfinite().all() else values.float()


def _keys(shard: Path) -> list[str]:
    try:
        with safe_open(shard, framework="pt") as file:
            return list(json.loads(file.metadata()[_KEYS]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s is damaged (%s); its pictures are encoded anew.", shown(shard), error)
        return []


def _by_shard(wanted: Sequence[RowRange]) -> dict[Path, list[RowRange]]:
    grouped: dict[Path, list[RowRange]] = {}
    for at in wanted:
        grouped.setdefault(at.shard, []).append(at)
    return grouped


def _read(shard: Path, wanted: Sequence[RowRange]) -> list[tuple[RowRange, Rows]]:
    """Examples of one file, which is mapped: its other rows are not read."""
    with safe_open(shard, framework="pt") as file:
        names = list(file.keys())
        return [(at, {name: _wide(file.get_slice(name)[at.row]) for name in names}) for at in wanted]


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.is_floating_point() else values
