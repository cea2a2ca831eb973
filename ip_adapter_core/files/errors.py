"""The error of a weight file that cannot be used, and its two most frequent reasons."""

from __future__ import annotations

from pathlib import Path


class UnsupportedCheckpoint(ValueError):
    """A weight file that cannot be used: one sentence with what was found and what is needed."""


def check_exists(path: Path) -> None:
    """Raises UnsupportedCheckpoint when there is no such file."""
    if not path.is_file():
        raise UnsupportedCheckpoint(f"Choose another file; {path.name} does not exist (looked at {path}).")


def report_damage(path: Path, reason: Exception) -> UnsupportedCheckpoint:
    """The error of a file that a reader could not read to its end."""
    return UnsupportedCheckpoint(f"Download {path.name} again; it is damaged or incomplete ({reason}).")
