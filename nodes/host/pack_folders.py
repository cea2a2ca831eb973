"""Folders in which other packs keep adapters, and into which ComfyUI-Manager puts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import folder_paths

from ...ip_adapter_core.files.tensor_file import is_weight_file


class PackFolder(NamedTuple):
    """A folder of another pack: a row of PACK_FOLDERS.

    name: of the folder in ComfyUI's models, which names of its files begin with in our lists.
    category: under which that pack tells ComfyUI of it, so that the user's extra paths count too.
    """

    name: str
    category: str


PACK_FOLDERS = (
    PackFolder("instantid", "instantid"),
    PackFolder("xlabs/ipadapters", "xlabs_ipadapters"),
    PackFolder("ipadapter-flux", "ipadapter-flux"),
    PackFolder("pulid", "pulid"),
)


def files_of_packs(listed_folders: list[str]) -> dict[str, str]:
    """Weight files of these folders, full paths by name.

    listed_folders: those that are listed anyway, whose files are not named a second time.
    """
    others = [os.path.realpath(folder) for folder in listed_folders]
    found: dict[str, str] = {}
    for row in PACK_FOLDERS:
        for folder in _paths(row):
            if not _is_inside(os.path.realpath(folder), others):
                for file in _weight_files(folder):
                    found.setdefault(f"{row.name}/{file.relative_to(folder).as_posix()}", str(file))
    return found


def _paths(row: PackFolder) -> list[Path]:
    registered = row.category in folder_paths.folder_names_and_paths
    more = folder_paths.get_folder_paths(row.category) if registered else []
    return [Path(folder) for folder in dict.fromkeys([os.path.join(folder_paths.models_dir, row.name), *more])]


def _weight_files(folder: Path) -> Iterator[Path]:
    yield from sorted(file for file in folder.rglob("*") if is_weight_file(file) and file.is_file())


def _is_inside(folder: str, others: list[str]) -> bool:
    return any(Path(folder).is_relative_to(other) for other in others)
