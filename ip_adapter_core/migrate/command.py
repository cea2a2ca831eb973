"""The command: `python -m ip_adapter_core.migrate FILE|FOLDER [-o OUT] [--in-place] [--old-numbers] [--list]`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..files.atomic import replacing
from ..text.wording import legible
from .convert import Converted, convert
from .rows import listing
from .sheet import OLD, RIGHT

_BEFORE = ".before-migration.json"


class Job(NamedTuple):
    """A file, and where its conversion goes: to another file, to itself, or nowhere."""

    file: Path
    out: Path | None = None
    in_place: bool = False


def main(words: Sequence[str]) -> int:
    """Convert files and report; the exit status is 1 when one could not be read or written."""
    asked = _parser().parse_args(words)
    if asked.list:
        _say(*listing())
        return 0
    if not asked.paths:
        _parser().error("Name a file or a folder, or ask for --list.")
    if asked.out and (asked.in_place or len(asked.paths) > 1):
        _parser().error("Give -o with one file or folder, and without --in-place.")
    way = OLD if asked.old_numbers else RIGHT
    return max([_run(job, way) for job in _jobs(asked)], default=0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ip_adapter_core.migrate",
        description="Turn nodes of IPAdapter Plus in saved graphs into those of this package. Without -o or --in-place "
        "it only says what it would do.",
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="FILE|FOLDER", help="graphs (.json), or folders of them")
    parser.add_argument("-o", dest="out", type=Path, help="the new file, or the new folder; nothing is overwritten")
    parser.add_argument(
        "--in-place", action="store_true", help=f"change the files; what they were is kept beside them as NAME{_BEFORE}"
    )
    parser.add_argument("--old-numbers", action="store_true", help="compute as IPAdapter Plus did, with its errors")
    parser.add_argument("--list", action="store_true", help="say what becomes of each old node")
    return parser


def _jobs(asked: argparse.Namespace) -> Iterator[Job]:
    for path in asked.paths:
        for file in _files(path):
            if asked.in_place:
                yield Job(file, file, in_place=True)
            elif asked.out:
                inner = file.relative_to(path) if path.is_dir() else Path(file.name if asked.out.is_dir() else "")
                yield Job(file, asked.out / inner)
            else:
                yield Job(file)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".json" and file.is_file())
    yield from (file for file in found if not file.name.endswith(_BEFORE))


def _run(job: Job, way: Any) -> int:
    """Convert one file. A file without old nodes is left alone."""
    try:
        converted = _convert(job.file, way)
        lines = [f"  {line}" for line in converted.lines]
        _say(f"{job.file}: {converted.summary()}", *lines)
        if job.out and converted.converted:
            _write(job, converted)
    except OSError as error:
        _say(f"{job.file}: Look whether it can be read, and its new place written: {error.strerror}.")
        return 1
    except ValueError as error:
        _say(f"{job.file}: {error}")
        return 1
    return 0


def _convert(file: Path, way: Any) -> Converted:
    try:
        graph = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError):
        raise ValueError("Give a graph that the editor saved, or a prompt for the API: this is no JSON.") from None
    if not isinstance(graph, dict):
        raise ValueError("Give a graph that the editor saved, or a prompt for the API: this JSON is neither.")
    return convert(graph, way)


def _write(job: Job, converted: Converted) -> None:
    """Write the graph. Raises ValueError where a file would be overwritten."""
    target = job.out or job.file
    if job.in_place:
        _keep(job.file)
    elif target.exists():
        raise ValueError(f"Choose another name with -o: {target} exists already.")
    text = json.dumps(converted.graph, ensure_ascii=False, indent=2)
    with replacing(target) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _keep(file: Path) -> None:
    """Keep what a file was, beside it. Raises ValueError where something is kept there already."""
    kept = file.with_name(file.stem + _BEFORE)
    if kept.exists():
        raise ValueError(f"Move {kept} away first: it holds what this file was before an earlier conversion.")
    with replacing(kept) as unfinished:
        unfinished.write_bytes(file.read_bytes())


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{legible(line)}\n" for line in lines))
