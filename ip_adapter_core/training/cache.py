"""What the frozen models say of captioned pictures: computed once, kept on disk, read back while training."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..whole_file import save_whole
from .pairs import Pair, Unreadable, read

SHARD = 256  # examples in a file: as many are lost at most when the power fails
BATCH = 8  # pictures that the models see at once

_NULLS, _PROBE = "nulls.safetensors", "probe.safetensors"
_KEYS = "keys"
_NAMED = 20  # unreadable pictures that a report names
_SAME = 0.01  # relative; half precision and other devices differ by a tenth of it, other models by ten times
_PROBE_TEXT = "a photograph of an astronaut riding a horse"

Rows = dict[str, Tensor]
OnPicture = Callable[[int, int], None]

_log = logging.getLogger(__name__)


class Encoder(Protocol):
    """The frozen models, as the cache needs them."""

    def encode(self, images: Tensor, captions: Sequence[str]) -> Rows:
        """Images (n, height, width, 3), 0..1, and their captions -> named tensors with n rows each."""

    def nulls(self) -> Rows:
        """What stands for a condition that is dropped: tensors of one row."""


class Place(NamedTuple):
    """Where an example is kept."""

    shard: Path
    row: int


@dataclass(eq=False)
class CachedExamples:
    """Examples read from disk when they are asked for; only their places are in memory."""

    places: tuple[Place, ...]
    nulls: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.places)

    def rows(self, indices: Sequence[int]) -> Rows:
        """The named tensors of these examples, float32, one row each, in the order asked for."""
        # Tensors made in inference mode, in which ComfyUI runs nodes, could not be trained on.
        with torch.inference_mode(False):
            found = [_read(self.places[int(index)]) for index in indices]
            return {name: torch.stack([row[name] for row in found]) for name in found[0]}


def cached(
    folder: Path, pairs: Sequence[Pair], encoder: Encoder, size: int, on_picture: OnPicture | None = None
) -> CachedExamples:
    """The examples of these pictures at `size` pixels, encoding those that are not in the folder yet.

    What is there counts for the same picture, caption and size, and for models that say the same of a fixed example.
    on_picture(done, of) is called after each batch; what is encoded when it raises is kept. Unreadable pictures are
    logged and left out. Raises ValueError when no picture can be read.
    """
    home = _home(folder, encoder, size)
    wanted = {_key(pair): pair for pair in pairs}
    missing = {key: pair for key, pair in wanted.items() if key not in _places(home)}
    unread = _encode(home, missing, encoder, size, on_picture)
    _report(unread, len(wanted))
    places = _places(home)
    kept = tuple(places[key] for key in wanted if key in places)
    if not kept:
        raise ValueError(f"None of the {len(wanted)} pictures can be read; the first is {unread[0]}.")
    with torch.inference_mode(False):
        return CachedExamples(kept, _loaded(home / _NULLS))


def _home(folder: Path, encoder: Encoder, size: int) -> Path:
    """The folder of what these models said before, or a new one."""
    said = _probed(encoder, size)
    homes = sorted(path.parent for path in folder.glob(f"*/{_PROBE}"))
    known = next((home for home in homes if _same(_loaded(home / _PROBE), said)), None)
    return known or _begun(folder, encoder, said)


def _begun(folder: Path, encoder: Encoder, said: Rows) -> Path:
    number = next(number for number in range(1, 10**6) if not (folder / f"{number:03d}").exists())
    home = folder / f"{number:03d}"
    home.mkdir(parents=True)
    _write(home / _NULLS, {name: row.float() for name, row in encoder.nulls().items()})
    _write(home / _PROBE, said)  # last: without it the folder is not taken for begun
    return home


def _probed(encoder: Encoder, size: int) -> Rows:
    """What the models say of a fixed picture and text."""
    ramp = torch.linspace(0, 1, size)
    waves = (torch.outer(ramp, ramp) * 40).sin() * 0.5 + 0.5
    picture = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size), waves], dim=-1)
    return {name: row.float() for name, row in encoder.encode(picture[None], [_PROBE_TEXT]).items()}


def _same(known: Rows, said: Rows) -> bool:
    if {name: row.shape for name, row in known.items()} != {name: row.shape for name, row in said.items()}:
        return False
    return all((known[name] - row.cpu()).norm() <= _SAME * known[name].norm() for name, row in said.items())


def _key(pair: Pair) -> str:
    return hashlib.sha256(pair.stamp().encode()).hexdigest()[:32]


def _encode(
    home: Path, missing: Mapping[str, Pair], encoder: Encoder, size: int, on_picture: OnPicture | None
) -> list[Unreadable]:
    """Write the missing examples and return what could not be read."""
    unread: list[Unreadable] = []
    with _Shards(home) as shards, ThreadPoolExecutor(BATCH) as pool:
        for start in range(0, len(missing), BATCH):
            part = list(missing.items())[start : start + BATCH]
            pictures = list(pool.map(lambda entry: _picture(entry[1], size), part))
            unread += [picture for picture in pictures if isinstance(picture, Unreadable)]
            good = {
                key: picture for (key, _), picture in zip(part, pictures, strict=True) if isinstance(picture, Tensor)
            }
            if good:
                captions = [missing[key].caption for key in good]
                shards.add(list(good), _finite(encoder.encode(torch.stack(list(good.values())), captions)))
            if on_picture:
                on_picture(start + len(part), len(missing))
    return unread


def _picture(pair: Pair, size: int) -> Tensor | Unreadable:
    try:
        return read(pair, size)
    except Unreadable as error:
        return error


def _finite(rows: Rows) -> Rows:
    for name, values in rows.items():
        if not values.isfinite().all():
            raise ValueError(
                f"The models give {name} that are no numbers, often a VAE in half precision; "
                "start ComfyUI with --fp32-vae, or choose another VAE."
            )
    return rows


class _Shards:
    """Writes examples in files of SHARD; what is left over is written at the end, however that comes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.keys: list[str] = []
        self.rows: list[Rows] = []

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, *error: object) -> None:
        self.write()

    def add(self, keys: Sequence[str], rows: Rows) -> None:
        self.keys += keys
        self.rows.append({name: values.cpu() for name, values in rows.items()})
        if len(self.keys) >= SHARD:
            self.write()

    def write(self) -> None:
        if self.keys:
            stacked = {name: _halved(torch.cat([part[name] for part in self.rows])) for name in self.rows[0]}
            free = (path for n in count() if not (path := self.home / f"shard-{n:05d}.safetensors").exists())
            _write(next(free), stacked, {_KEYS: json.dumps(self.keys)})
        self.keys, self.rows = [], []


def _halved(values: Tensor) -> Tensor:
    """Half precision, as the models mostly compute in, where the values have room in it."""
    half = values.half()
    return half if half.isfinite().all() else values.float()


def _write(path: Path, tensors: Rows, metadata: dict[str, str] | None = None) -> None:
    owned = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_whole(owned, path, metadata)


def _places(home: Path) -> dict[str, Place]:
    """Every example that is kept, by key."""
    return {key: Place(shard, row) for shard in sorted(home.glob("shard-*")) for row, key in enumerate(_keys(shard))}


def _keys(shard: Path) -> list[str]:
    try:
        with safe_open(shard, framework="pt") as file:
            return list(json.loads(file.metadata()[_KEYS]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s is damaged (%s); its pictures are encoded anew.", shard, error)
        return []


def _read(place: Place) -> Rows:
    """One example, mapped from disk: the rest of its file is not read."""
    with safe_open(place.shard, framework="pt") as file:
        return {name: file.get_slice(name)[place.row].float() for name in file.keys()}


def _loaded(path: Path) -> Rows:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete its folder, its pictures are encoded anew.") from error


def _report(unread: Sequence[Unreadable], of: int) -> None:
    if not unread:
        return
    named = "\n".join(str(error) for error in unread[:_NAMED])
    more = f"\nand {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
    _log.warning("%d of %d pictures cannot be read and are left out:\n%s%s", len(unread), of, named, more)
