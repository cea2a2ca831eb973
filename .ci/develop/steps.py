"""What every step of the set-up shares: where things are kept, one line of progress, pip, and a lock."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / ".host"
WINDOWS = os.name == "nt"


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say on one line of stderr what is being brought and how long it took."""
    print(f"{what} ...", end=" ", file=sys.stderr, flush=True)
    start = time.monotonic()
    yield
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)


def pip(python: Path, *arguments: str) -> None:
    """Run the pip of `python` quietly. Raises SystemExit when it fails; its own error is shown above."""
    quiet = ["-qq", "--disable-pip-version-check", "--no-input"]
    if subprocess.run([python, "-m", "pip", arguments[0], *quiet, *arguments[1:]]).returncode:
        raise SystemExit(f"pip {arguments[0]} failed, see above. Nothing half-made is kept: run the command again.")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time do the set-up; the others wait here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        lock(handle)
        yield


def lock(handle: IO[str]) -> None:
    """Hold an exclusive lock on an open file until it is closed."""
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    import msvcrt

    while True:
        try:
            return msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
        except OSError:  # gives up after ten seconds of waiting
            continue
