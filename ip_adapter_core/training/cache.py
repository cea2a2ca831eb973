"""The outputs of the frozen models for captioned pictures: computed once, written to disk, read while training."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ..text.wording import shown
from ..vision.preprocess import BICUBIC
from .pairs import CaptionedPicture
from .pictures import Picture, Unreadable, read, stack_pictures
from .shards import CachedExamples, Rows, Shards, find_rows, write

BATCH = 8  # pictures that the models see at once

_NULLS, _PROBE = "nulls.safetensors", "probe.safetensors"
_MODELS, _SEEN = "models", "seen"  # metadata of a probe: the models that made it, and what the encoder was shown
_WHOLE = "whole pictures"  # earlier versions wrote nothing, and showed the encoder the square of the frozen model
_NAMED = 20  # unreadable pictures that a report names
_SAME = 0.01  # relative; other precisions and devices differ by a tenth of it, other models by ten times as much
_PROBE_TEXT = "a photograph of an astronaut riding a horse"

OnPicture = Callable[[int, int], None]

_log = logging.getLogger(__name__)


class Encoder(Protocol):
    """The frozen models, as the cache needs them.

    sees: side of the pictures that the vision encoder reads, in pixels.
    interpolation: how they are resized for it, of preprocess.INTERPOLATIONS.
    """

    @property
    def sees(self) -> int: ...

    @property
    def interpolation(self) -> str: ...

    def identity(self) -> str:
        """A text that changes with any change of a model."""

    def encode(self, pictures: Picture, captions: Sequence[str]) -> Rows:
        """Pictures and their captions -> named tensors with a row for each."""

    def nulls(self) -> Rows:
        """The values of a dropped condition: named tensors of one row."""


def cache_examples(
    folder: Path, pairs: Sequence[CaptionedPicture], encoder: Encoder, size: int, on_picture: OnPicture | None = None
) -> CachedExamples:
    """The examples of these pictures at `size` pixels; those that are not in the folder yet are encoded first.

    An example in the folder is used for the same picture, caption and size, and for the same models. Models are the
    same when their weights are, and when they give the same output for a fixed example, because settings such as
    skipped layers are in no weights.
    on_picture(done, of) is called after each batch; when it raises, all examples before it stay on disk. Unreadable
    pictures are logged and left out. Raises ValueError when no picture can be read.
    """
    home = _home(folder, encoder, size)
    wanted = {_key(pair): pair for pair in pairs}
    cached = find_rows(home)
    missing = {key: pair for key, pair in wanted.items() if key not in cached}
    unread = _encode(home, missing, encoder, size, on_picture)
    _report(unread, len(wanted))
    cached = find_rows(home) if missing else cached
    readable = {key: pair for key, pair in wanted.items() if key in cached}
    if not readable:
        raise ValueError(f"Give pictures that can be read; of {len(wanted)} none can, and the first is {unread[0]}.")
    with torch.inference_mode(False):
        row_ranges = tuple(cached[key] for key in readable)
        return CachedExamples(row_ranges, _load(home / _NULLS), _identity(readable.values()))


def _identity(pairs: Iterable[CaptionedPicture]) -> str:
    return hashlib.sha256(repr([pair.content_stamp() for pair in pairs]).encode()).hexdigest()[:32]


def _home(folder: Path, encoder: Encoder, size: int) -> Path:
    """The folder with earlier examples of these models, or a new folder."""
    probe, metadata = _probe(encoder, size), {_MODELS: encoder.identity(), _SEEN: _seen(encoder)}
    homes = {path.parent: _read_metadata(path) for path in sorted(folder.glob(f"*/{_PROBE}"))}
    if any(_SEEN not in written for written in homes.values()):
        _log.info("%s also holds what an earlier version encoded otherwise; it is not read any more.", shown(folder))
    fitting = (home for home, written in homes.items() if written == metadata and _same(_load(home / _PROBE), probe))
    return next(fitting, None) or _begin(folder, encoder, probe, metadata)


def _seen(encoder: Encoder) -> str:
    """What the encoder is shown, which the probe does not tell: that is ready made."""
    return _WHOLE if encoder.interpolation == BICUBIC else f"{_WHOLE}, {encoder.interpolation}"


def _read_metadata(probe: Path) -> dict[str, str]:
    """The metadata of a probe; a damaged one fits no models."""
    try:
        with safe_open(probe, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {_SEEN: "damaged"}


def _begin(folder: Path, encoder: Encoder, probe: Rows, metadata: dict[str, str]) -> Path:
    """A new folder for examples of these models."""
    number = next(number for number in range(1, 10**6) if not (folder / f"{number:03d}").exists())
    home = folder / f"{number:03d}"
    home.mkdir(parents=True)
    write(home / _NULLS, {name: row.float() for name, row in encoder.nulls().items()})
    write(home / _PROBE, probe, metadata)  # last: a folder without a probe does not count
    return home


def _probe(encoder: Encoder, size: int) -> Rows:
    """The output of the models for a fixed picture and text."""
    numbers = torch.tensor([size, size, 0, 0, size, size], dtype=torch.int32)
    picture = stack_pictures([Picture(_waves(size), _waves(encoder.sees), numbers)])
    return {name: row.float() for name, row in encoder.encode(picture, [_PROBE_TEXT]).items()}


def _waves(size: int) -> Tensor:
    ramp = torch.linspace(0, 1, size)
    waves = (torch.outer(ramp, ramp) * 40).sin() * 0.5 + 0.5
    return torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size), waves], dim=-1)


def _same(old: Rows, new: Rows) -> bool:
    if {name: row.shape for name, row in old.items()} != {name: row.shape for name, row in new.items()}:
        return False
    return all((old[name] - row.cpu()).norm() <= _SAME * old[name].norm() for name, row in new.items())


def _key(pair: CaptionedPicture) -> str:
    return hashlib.sha256(pair.stamp().encode()).hexdigest()[:32]


def _encode(
    home: Path, missing: Mapping[str, CaptionedPicture], encoder: Encoder, size: int, on_picture: OnPicture | None
) -> list[Unreadable]:
    """Write the missing examples, and return the errors of unreadable pictures."""
    unread: list[Unreadable] = []
    entries = list(missing.items())
    with Shards(home) as shards, ThreadPoolExecutor(BATCH) as pool:
        for start in range(0, len(entries), BATCH):
            part = entries[start : start + BATCH]
            pictures = list(pool.map(lambda entry: _picture(entry[1], size, encoder), part))
            unread += [picture for picture in pictures if isinstance(picture, Unreadable)]
            good = {
                key: picture for (key, _), picture in zip(part, pictures, strict=True) if isinstance(picture, Picture)
            }
            if good:
                captions = [missing[key].caption for key in good]
                shards.add(list(good), _finite(encoder.encode(stack_pictures(list(good.values())), captions)))
            if on_picture:
                on_picture(start + len(part), len(missing))
    return unread


def _picture(pair: CaptionedPicture, size: int, encoder: Encoder) -> Picture | Unreadable:
    try:
        return read(pair, size, encoder.sees, encoder.interpolation)
    except Unreadable as error:
        return error


def _finite(rows: Rows) -> Rows:
    for name, values in rows.items():
        if not values.isfinite().all():
            raise ValueError(
                f"Start ComfyUI with --fp32-vae, or choose another VAE; the models give {name} that are "
                "no numbers, often a VAE in half precision."
            )
    return rows


def _load(path: Path) -> Rows:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"Delete the folder of {shown(path)}, so that its pictures are encoded anew; it is damaged ({error})."
        ) from error


def _report(unread: Sequence[Unreadable], of: int) -> None:
    if not unread:
        return
    lines = "\n".join(str(error) for error in unread[:_NAMED])
    more = f"\nand {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
    _log.warning("%d of %d pictures cannot be read and are left out:\n%s%s", len(unread), of, lines, more)
