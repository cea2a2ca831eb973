"""Files that are there whole or not at all, whenever a program ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def save_whole(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors to a safetensors file, and make its folder; until it is complete, what was there before stays."""
    with replacing(path) as unfinished:
        save_file(dict(tensors), unfinished, metadata)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, in a folder that is there; what was written takes the place of a file when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield unfinished
        if path.exists():
            shutil.copymode(path, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
