"""Captioned pictures on disk: found in folders, list files and WebDataset shards."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..text.wording import shown
from .listings import READERS, caption_of, rows_of

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
CAPTIONS = (".txt", ".caption")
SHARD = ".tar"

_LISTINGS = ("metadata.jsonl", "metadata.csv", "captions.json")
_JSON = ".json"
_NUMBER = re.compile(r"[0-9]{1,18}")
_MOST_SHARDS = 1_000_000  # that a range may name; the largest public data sets have fewer
_NEEDED = (
    "Needed is a folder of pictures (with a .txt beside each, or a metadata.jsonl), "
    "a list file (.jsonl, .csv, .txt), or .tar shards."
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaptionedPicture:
    """A picture and its caption.

    name: of the picture, within its data set.
    caption: its text.
    path: of the file that contains it.
    start: its first byte in the file.
    length: number of bytes; None is the whole file.
    """

    name: str
    caption: str
    path: Path
    start: int = 0
    length: int | None = None

    def stamp(self) -> str:
        """A text that changes with the picture or the caption: path, size, time and words."""
        status = _status(self.path)  # None for a missing file; reading it gives the error
        written = (status.st_size, status.st_mtime_ns) if status else (0, 0)
        return repr((os.path.realpath(self.path), self.start, self.length, written, self.caption))

    def content_stamp(self) -> str:
        """A text that does not depend on folder and time: name, size and words."""
        status = _status(self.path) if self.length is None else None
        return repr((self.name, status.st_size if status else self.length, self.caption))

    def content(self) -> bytes:
        """The picture's file. Raises OSError when it is gone."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(-1 if self.length is None else self.length)


def find(source: str | Path, on_found: Callable[[], None] | None = None) -> tuple[CaptionedPicture, ...]:
    """The captioned pictures of a folder, a list file, or shards such as `shards-{0000..0009}.tar`, in a fixed order.

    on_found is called after each picture, and may raise to end the search. Pictures without a caption get an empty one,
    and the log says how many these are. No picture is decoded yet. Raises ValueError when the source does not exist,
    contains no picture, or is a list that cannot be read.
    """
    pairs = []
    for pair in _find(_expand_user(source)):
        pairs.append(pair)
        if on_found:
            on_found()
    if not pairs:
        raise ValueError(f"Name a source with pictures; none were found in {shown(source)}. {_NEEDED}")
    bare = sum(not pair.caption for pair in pairs)
    if bare:
        _log.warning(
            "%d of %d pictures in %s have no caption; they train with an empty one.", bare, len(pairs), shown(source)
        )
    return tuple(pairs)


def fingerprint(source: str | Path) -> str:
    """A digest that changes with the names, sizes and times of a data set's files.

    A source that does not exist has a digest too; `find` gives its error.
    """
    digest = hashlib.sha256()
    try:
        for path in _files(_expand_user(source)):
            status = _status(path)
            digest.update(repr((str(path), status and (status.st_size, status.st_mtime_ns))).encode())
            if status is None:
                break
    except (OSError, ValueError) as error:
        digest.update(repr(str(error)).encode())
    return digest.hexdigest()


def _files(source: Path) -> Iterator[Path]:
    """All files of a data set."""
    if _ending(source.name) == SHARD:
        yield from _expand(source)
    elif _is_folder(source):
        yield from (path for path in sorted(source.rglob("*")) if _is_file(path))
    else:
        yield source
        if _ending(source.name) in READERS:
            yield from (source.parent / name for name, _ in rows_of(source))


def _expand_user(source: str | Path) -> Path:
    return Path(os.path.expanduser(source))  # Path's own raises for users that are unknown


def _status(path: Path) -> os.stat_result | None:
    """The status of a file; None for a missing one, and for a name that no file can have."""
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _is_folder(path: Path) -> bool:
    status = _status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)


def _is_file(path: Path) -> bool:
    status = _status(path)
    return status is not None and stat.S_ISREG(status.st_mode)


def _find(source: Path) -> Iterator[CaptionedPicture]:
    if _ending(source.name) == SHARD:
        yield from _in_shards(_expand(source))
    elif _is_folder(source):
        yield from _in_folder(source)
    elif not _is_file(source):
        raise ValueError(f"Name another source; {shown(source)} does not exist. {_NEEDED}")
    elif _ending(source.name) not in READERS:
        raise ValueError(f"Name another source; {shown(source.name)} cannot be read as a list of pictures. {_NEEDED}")
    else:
        yield from _in_list(source)


def _in_folder(folder: Path) -> Iterator[CaptionedPicture]:
    """Pictures of a folder and its subfolders, then the pictures in its shards."""
    captions = _captions_in_lists(folder)
    files = sorted(path for path in folder.rglob("*") if _is_file(path))
    for path in files:
        if path.suffix.lower() in PICTURES:
            name = path.relative_to(folder).as_posix()
            yield CaptionedPicture(name, captions.get(name) or _caption_beside(path), path)
    yield from _in_shards([path for path in files if _ending(path.name) == SHARD])


def _captions_in_lists(folder: Path) -> dict[str, str]:
    listings = (folder / name for name in _LISTINGS)
    return dict(row for listing in listings if _is_file(listing) for row in rows_of(listing))


def _caption_beside(picture: Path) -> str:
    for suffix in CAPTIONS:
        beside = picture.with_suffix(suffix)
        if _is_file(beside):
            return beside.read_text(encoding="utf-8-sig", errors="replace").strip()
    return ""


def _in_list(listing: Path) -> Iterator[CaptionedPicture]:
    """Pictures that a list file names, relative to its folder."""
    for name, caption in rows_of(listing):
        yield CaptionedPicture(name, caption, listing.parent / name)


def _expand(pattern: Path) -> Iterable[Path]:
    """The shards that `name-{0000..0009}.tar` means; their number is checked before the names are made."""
    before, opened, rest = str(pattern).partition("{")
    inside, closed, after = rest.partition("}")
    first, dots, last = inside.partition("..")
    if not opened:
        return [pattern]
    if not (closed and dots and _NUMBER.fullmatch(first) and _NUMBER.fullmatch(last)):
        raise ValueError(f"Write the shards as shards-{{0000..0009}}.tar; {shown(pattern.name)} is no range of them.")
    numbers = range(int(first), int(last) + 1)
    if not 0 < len(numbers) <= _MOST_SHARDS:
        raise ValueError(
            f"Name 1 to {_MOST_SHARDS} shards, from the first to the last; {shown(pattern.name)} names {len(numbers)}."
        )
    return (Path(f"{before}{number:0{len(first)}d}{after}") for number in numbers)


def _in_shards(shards: Iterable[Path]) -> Iterator[CaptionedPicture]:
    for shard in shards:
        if not _is_file(shard):
            raise ValueError(f"Name another source; {shown(shard)} does not exist. {_NEEDED}")
        yield from _in_shard(shard)


def _in_shard(shard: Path) -> Iterator[CaptionedPicture]:
    """Members with the same name up to the first dot are one example, as in WebDataset."""
    try:
        with tarfile.open(shard, "r:") as archive:  # uncompressed only: pictures are read later, by their first byte
            members = [member for member in archive if member.isfile()]
            captions = dict(_captions_in(archive, members))
    except (tarfile.TarError, OSError) as error:
        name, reason = shown(shard.name), shown(error)
        raise ValueError(f"Unpack {name} or make it again; it is no plain .tar archive ({reason}).") from error
    for member in members:
        if _ending(member.name) in PICTURES:
            name = f"{shard.name}/{member.name}"
            yield CaptionedPicture(name, captions.get(_key(member.name), ""), shard, member.offset_data, member.size)


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
