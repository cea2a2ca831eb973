"""Files of adapters and encoders: the folders in which ComfyUI keeps them, and what each file is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

import folder_paths

from ...ip_adapter_core.adapters import loading
from ...ip_adapter_core.adapters.identity import Identity
from ...ip_adapter_core.adapters.resolution import AUTO
from ...ip_adapter_core.catalogue.by_name import find_by_name
from ...ip_adapter_core.catalogue.downloads import ADAPTER_FILES, ENCODER_FILES, Published
from ...ip_adapter_core.files.errors import UnsupportedCheckpoint
from ...ip_adapter_core.text.wording import shown
from ...ip_adapter_core.vision import encoder
from ...ip_adapter_core.vision.encoder import Tower
from . import small_world
from .pack_folders import files_of_packs

ADAPTERS = "ipadapter"
ENCODERS = "clip_vision"

Fingerprint = tuple[Any, ...]
T = TypeVar("T")

_MAX_LINES = 40
_PACKAGE_MODELS = Path(__file__).parents[2] / "models"

_IDENTIFY: dict[str, Callable[[str, str], Any]] = {
    ADAPTERS: loading.identify_file,
    ENCODERS: lambda file, _: encoder.identify_file(file),
}
_BESIDE: dict[str, Callable[[str], list[Path]]] = {ENCODERS: encoder.config_files}
_PUBLISHED: dict[str, Iterable[Published]] = {ADAPTERS: ADAPTER_FILES.values(), ENCODERS: ENCODER_FILES.values()}


class Shared(Generic[T]):
    """Objects that were made of files, by fingerprint: all threads get the same object as long as anybody uses it."""

    def __init__(self) -> None:
        self._in_use: WeakValueDictionary[Fingerprint, T] = WeakValueDictionary()
        self._lock = RLock()

    def get(self, key: Fingerprint, make: Callable[[], T]) -> T:
        """The object of this key; if nobody uses it, it is made, one at a time."""
        with self._lock:
            if (shared := self._in_use.get(key)) is None:
                shared = self._in_use[key] = make()
            return shared


def register_folders() -> None:
    """Make ComfyUI look for files in its own folders, the user's extra paths, and those of this package."""
    for models in (Path(folder_paths.models_dir), _PACKAGE_MODELS, small_world.ROOT):
        folder_paths.add_model_folder_path(ADAPTERS, str(models / ADAPTERS))
    folder_paths.add_model_folder_path(ENCODERS, str(_PACKAGE_MODELS / ENCODERS))
    for category in (ADAPTERS, ENCODERS):
        # A category that a pack or the user's yaml adds starts without extensions: every file would be listed.
        paths, extensions = folder_paths.folder_names_and_paths[category]
        folder_paths.folder_names_and_paths[category] = (paths, set(extensions) | folder_paths.supported_pt_extensions)


def names(category: str) -> list[str]:
    """Files of a category as users pick them; last those that are in no folder of the category, or not for the host."""
    return list(dict.fromkeys([*folder_paths.get_filename_list(category), *_ours_alone(category)]))


def folders(category: str) -> list[str]:
    """The folders that a category is looked for in."""
    return folder_paths.get_folder_paths(category)


def path(category: str, name: str) -> str:
    """Full path of a file. Raises ValueError when it is not there any more."""
    full_path = _full_path(category, name)
    if full_path is None:
        raise ValueError(f"{_get(category, name)}; it is not there. Looked in {' and '.join(folders(category))}.")
    return full_path


def download(published: Published, category: str) -> str:
    """The first words of a message: where to get a published file, and where to put it."""
    return f"Download {published.url} and put it at models/{category}/{published.file}"


def identify(category: str, name: str, choice: str = AUTO) -> Any:
    """What a file is: `Identity` of an adapter, `Tower` of an encoder.

    choice: what the user says an adapter is, a row of resolution.CHOICES. Raises UnsupportedCheckpoint, with the file's
    name, when it is none that can be used; ValueError when it is gone.
    """
    path(category, name)
    try:
        return _identify(category, choice, fingerprint(category, name))
    except (UnsupportedCheckpoint, OSError) as error:
        raise UnsupportedCheckpoint(_with_name(name, error)) from error


def complaint(category: str, name: str | None, choice: str = AUTO) -> str | None:
    """Why a file cannot be used, or None; asked before a graph runs, where a name that is wired in is None yet."""
    try:
        if name is not None:
            identify(category, name, choice)
        return None
    except (ValueError, OSError) as error:
        return str(error)


def fingerprint(category: str, name: str | None) -> Fingerprint:
    """Path, size and time of a file, and of the config beside an encoder: changes when one of them is exchanged, so
    that they are read again. name as in `complaint`."""
    file = None if name is None else _full_path(category, name)
    beside = _BESIDE[category](file) if file and category in _BESIDE else []
    return (*_state(file), *(_state(config) for config in beside))


def fingerprints() -> list[Fingerprint]:
    """Those of all adapters and encoders on disk: what a choice among them depends on."""
    return [fingerprint(category, name) for category in (ADAPTERS, ENCODERS) for name in names(category)]


def adapters() -> dict[str, Identity]:
    """The usable adapters on disk, by name."""
    return _usable(ADAPTERS)


def encoders() -> dict[str, Tower]:
    """The usable vision encoders on disk, by name."""
    return _usable(ENCODERS)


def unusable(category: str) -> list[str]:
    """Why files of a category cannot be used, a line for each that cannot."""
    return [reason for name in names(category) if (reason := complaint(category, name))]


def describe(category: str, name: str) -> str:
    """A file and what it is, in one line."""
    try:
        return f"{name}: {identify(category, name).describe()}"
    except (ValueError, OSError) as error:
        return f"{name} cannot be used. {error}"


def listing(category: str) -> list[str]:
    """A line for each file of a category, up to a number that people still read."""
    listed = names(category)
    lines = [describe(category, name) for name in listed[:_MAX_LINES]]
    return lines + ([f"and {len(listed) - _MAX_LINES} more"] if len(listed) > _MAX_LINES else [])


def _state(file: str | Path | None) -> Fingerprint:
    try:
        status = os.stat(file) if file else None
    except OSError:  # a link to nowhere, which ComfyUI lists all the same
        status = None
    return file and str(file), status and status.st_size, status and status.st_mtime_ns


def _ours_alone(category: str) -> dict[str, str]:
    """Files that are in the lists of this package and not in the host's: full paths by name."""
    find = _OURS_ALONE.get(category)
    return find() if find else {}


def _encoder_of_small_world() -> dict[str, str]:
    """The host's loader would offer it, and fail."""
    return {file.name: str(file) for file in sorted((small_world.ROOT / ENCODERS).glob("*.safetensors"))}


_OURS_ALONE: dict[str, Callable[[], dict[str, str]]] = {
    ADAPTERS: lambda: files_of_packs(folders(ADAPTERS)),
    ENCODERS: _encoder_of_small_world,
}


def _full_path(category: str, name: str) -> str | None:
    return folder_paths.get_full_path(category, name) or _ours_alone(category).get(name)


def _get(category: str, name: str) -> str:
    """What to do about a file that is not there: with its address, where the name is that of a published one."""
    published = {one.file: one for one in _PUBLISHED.get(category, ())}
    if (known := find_by_name(name, published)) is not None:
        return f"{download(published[known], category)}, or choose another file"
    return f"Choose another file, or put {shown(name)} into models/{category}"


def _usable(category: str) -> dict[str, Any]:
    usable = {}
    for name in names(category):
        try:
            usable[name] = identify(category, name)
        except ValueError:
            continue  # `listing` says why
    return usable


def _with_name(name: str, error: Exception) -> str:
    """The message, with the file at its end where it does not name it."""
    message = str(error)
    return message if Path(name).name in message else f"{message.removesuffix('.')} ({name})."


@lru_cache(maxsize=512)
def _identify(category: str, choice: str, state: Fingerprint) -> Any:
    """Remembered until the file changes: listing a folder costs a few stats per file."""
    return _IDENTIFY[category](state[0], choice)
