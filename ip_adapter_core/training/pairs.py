"""Captioned pictures on disk: found in folders, list files and WebDataset shards, and read for training."""

from __future__ import annotations

import logging
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .listings import READERS, caption_of, rows_of

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
CAPTIONS = (".txt", ".caption")
SHARD = ".tar"

_LISTINGS = ("metadata.jsonl", "metadata.csv", "captions.json")
_JSON = ".json"
_NEEDED = (
    "needed is a folder of pictures (with a .txt beside each, or a metadata.jsonl), "
    "a list file (.jsonl, .csv, .txt), or .tar shards"
)

_log = logging.getLogger(__name__)


class Unreadable(ValueError):
    """A picture that cannot be read: its name and the reason."""


@dataclass(frozen=True)
class Pair:
    """A picture and its caption; start and length are its place in a shard, a length of None is the whole file."""

    name: str
    caption: str
    path: Path
    start: int = 0
    length: int | None = None

    def stamp(self) -> str:
        """Changes when the picture or the caption does: place, size, time and words."""
        try:
            status = os.stat(self.path)
            written = (status.st_size, status.st_mtime_ns)
        except OSError:  # reading it says why
            written = (0, 0)
        return repr((str(self.path.resolve()), self.start, self.length, written, self.caption))


def find(source: str | Path) -> tuple[Pair, ...]:
    """The captioned pictures of a folder, a list file, or shards such as `shards-{0000..0009}.tar`, in a fixed order.

    Pictures without caption have the empty one, which is logged once with their number. Nothing is decoded yet.
    Raises ValueError when there is no such place, no picture in it, or a list that cannot be understood.
    """
    pairs = tuple(_found(Path(source).expanduser()))
    if not pairs:
        raise ValueError(f"No pictures were found in {source}; {_NEEDED}.")
    bare = sum(not pair.caption for pair in pairs)
    if bare:
        _log.warning("%d of %d pictures in %s have no caption; they train with an empty one.", bare, len(pairs), source)
    return pairs


def read(pair: Pair, size: int) -> Tensor:
    """The picture as training sees it: shortest side resized to `size` (bilinear), centre cropped.

    Returns (size, size, 3), float32, 0..1. Raises Unreadable when the file is gone, damaged, or no picture.
    Source: arXiv 2308.06721, section 4.1.
    """
    try:
        return _square(_content(pair), size)
    except Exception as error:  # Pillow's readers raise many kinds on a damaged file
        raise Unreadable(f"{pair.name}: {_reason(error)}") from error


def _found(source: Path) -> Iterator[Pair]:
    if source.suffix == SHARD:
        yield from _in_shards(_expanded(source))
    elif source.is_dir():
        yield from _in_folder(source)
    elif not source.is_file():
        raise ValueError(f"{source} does not exist; {_NEEDED}.")
    elif source.suffix not in READERS:
        raise ValueError(f"{source.name} cannot be read as a list of pictures; {_NEEDED}.")
    else:
        yield from _in_list(source)


def _in_folder(folder: Path) -> Iterator[Pair]:
    """Pictures of a folder and the folders in it, then the pictures in its shards."""
    listed = _listed_captions(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        if path.suffix.lower() in PICTURES:
            name = path.relative_to(folder).as_posix()
            yield Pair(name, listed.get(name) or _caption_beside(path), path)
    yield from _in_shards([path for path in files if path.suffix == SHARD])


def _listed_captions(folder: Path) -> dict[str, str]:
    listings = (folder / name for name in _LISTINGS)
    return dict(row for listing in listings if listing.is_file() for row in rows_of(listing))


def _caption_beside(picture: Path) -> str:
    for suffix in CAPTIONS:
        beside = picture.with_suffix(suffix)
        if beside.is_file():
            return beside.read_text(encoding="utf-8-sig", errors="replace").strip()
    return ""


def _in_list(listing: Path) -> Iterator[Pair]:
    """Pictures that a file names, relative to it."""
    for name, caption in rows_of(listing):
        yield Pair(name, caption, listing.parent / name)


def _expanded(pattern: Path) -> list[Path]:
    """The shards that `name-{0000..0009}.tar` stands for."""
    before, opened, rest = str(pattern).partition("{")
    inside, closed, after = rest.partition("}")
    first, dots, last = inside.partition("..")
    if not opened:
        return [pattern]
    if not (closed and dots and first.isdigit() and last.isdigit()):
        raise ValueError(f"{pattern.name} is no range of shards; write it as shards-{{0000..0009}}.tar.")
    numbers = range(int(first), int(last) + 1)
    return [Path(f"{before}{number:0{len(first)}d}{after}") for number in numbers]


def _in_shards(shards: Iterable[Path]) -> Iterator[Pair]:
    for shard in shards:
        if not shard.is_file():
            raise ValueError(f"{shard} does not exist; {_NEEDED}.")
        yield from _in_shard(shard)


def _in_shard(shard: Path) -> Iterator[Pair]:
    """Members with the same name up to the first dot are one example, as in WebDataset."""
    try:
        with tarfile.open(shard, "r:") as archive:  # uncompressed only: pictures are read later, by their place
            members = [member for member in archive if member.isfile()]
            captions = dict(_captions_in(archive, members))
    except (tarfile.TarError, OSError) as error:
        raise ValueError(f"{shard.name} is no plain .tar archive ({error}); unpack it or make it again.") from error
    for member in members:
        if _ending(member.name) in PICTURES:
            name = f"{shard.name}/{member.name}"
            yield Pair(name, captions.get(_key(member.name), ""), shard, member.offset_data, member.size)


def _captions_in(archive: tarfile.TarFile, members: Iterable[tarfile.TarInfo]) -> Iterator[tuple[str, str]]:
    readers = {suffix: lambda text: text.strip() for suffix in CAPTIONS} | {_JSON: caption_of}
    for member in members:
        content = archive.extractfile(member) if _ending(member.name) in readers else None
        text = content.read().decode("utf-8-sig", errors="replace") if content else ""
        if caption := text and readers[_ending(member.name)](text):
            yield _key(member.name), caption


def _key(member: str) -> str:
    folder, slash, name = member.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _ending(member: str) -> str:
    return Path(member).suffix.lower()


def _content(pair: Pair) -> bytes:
    with pair.path.open("rb") as file:
        file.seek(pair.start)
        return file.read(-1 if pair.length is None else pair.length)


def _square(content: bytes, size: int) -> Tensor:
    from PIL import Image, ImageOps

    with Image.open(BytesIO(content)) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    # Only the part that is kept is resized: a very long picture is never scaled as a whole.
    square = ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(square).copy()).float() / 255


def _reason(error: Exception) -> str:
    known = {"FileNotFoundError": "the file does not exist", "UnidentifiedImageError": "the file is no picture"}
    return known.get(type(error).__name__) or str(error).replace("\n", " ") or type(error).__name__
