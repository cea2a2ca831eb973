"""Faces of pictures: packs of face networks on disk, the Python package that runs them, and what they find."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Protocol

import comfy.model_management as memory
import comfy.utils
import folder_paths
from torch import Tensor

from ...ip_adapter_core.faces import insightface, insightface_packs, networks
from ...ip_adapter_core.faces.detection import DetectedFaces
from ...ip_adapter_core.faces.features import Faces, Portrait, cat
from ...ip_adapter_core.faces.insightface import InsightFace
from ...ip_adapter_core.faces.insightface_packs import Pack
from ...ip_adapter_core.faces.networks import DETECTION, RECOGNITION, FaceNetworks
from ...ip_adapter_core.text.wording import shown
from ...ip_adapter_core.vision.preprocess import levels_and_opacity
from . import files

CATEGORY = "insightface"
NONE = "none found"
AUTO = "auto"

_PACKAGE_MODELS = Path(__file__).parents[2] / "models"
_INNER = "models"  # insightface keeps its packs in a folder of this name
_NETWORKS = ".onnx"
_CUDA = "CUDAExecutionProvider"
_WHERE_FROM = (
    "AuraFace (https://huggingface.co/fal/AuraFace-v1, Apache-2.0), or insightface's buffalo_l or antelopev2 (for "
    "non-commercial use only)"
)


Choose = Callable[[DetectedFaces, int], DetectedFaces]


class Reader(Protocol):
    """What finds and recognises the faces of a picture (height, width, 3) in eight-bit levels."""

    def detect(self, picture: Tensor) -> DetectedFaces:
        """Where the faces are."""

    def embed(self, picture: Tensor, faces: DetectedFaces) -> Tensor:
        """Raw embeddings of faces that `detect` gave, (faces, 512)."""


class Backend(NamedTuple):
    """A Python package that runs packs.

    install: the command that installs it.
    complaint: why it cannot use a pack, or None.
    reader: makes the networks of a pack for it, from the pack and the providers of onnxruntime.
    """

    install: str
    complaint: Callable[[Pack], str | None]
    reader: Callable[[Pack, list[Any]], Any]


BACKENDS: dict[str, Backend] = {
    "onnxruntime": Backend(
        networks.INSTALL,
        Pack.complaint,
        lambda pack, providers: FaceNetworks(pack.networks[DETECTION], pack.networks[RECOGNITION], providers),
    ),
    "insightface": Backend(
        insightface.INSTALL, lambda pack: None, lambda pack, providers: InsightFace(pack.folder, providers)
    ),
}
"""By the name of the Python package, the preferred one first."""

_loaded = files.Shared[Any]()


def register() -> None:
    """Make ComfyUI look for packs in models/insightface, the user's extra paths, and this package's own folder."""
    for models in (folder_paths.models_dir, str(_PACKAGE_MODELS)):
        folder_paths.add_model_folder_path(CATEGORY, os.path.join(models, CATEGORY))
    paths, extensions = folder_paths.folder_names_and_paths[CATEGORY]
    if extensions:  # none means all files, on which other packs that share the folder may count
        folder_paths.folder_names_and_paths[CATEGORY] = (paths, {*extensions, _NETWORKS})


def names() -> list[str]:
    """The packs on disk as users pick them, those that can be used as they are first, and the demo's last."""
    return list(_packs())


def menu() -> list[str]:
    """What a menu offers: the packs, or first of all NONE where none but the demo's is there."""
    return names() if real_names() else [NONE, *names()]


def real_names() -> list[str]:
    """Those of `names` that know real people: all but the demo's, which knows drawn ones and nobody else."""
    return [name for name, pack in _packs().items() if not _is_demos(pack)]


def listing() -> list[str]:
    """A line for each pack: what is in it."""
    return [f"{name}: {pack.describe()}" for name, pack in _packs().items()]


def complaint(name: str | None, backend: str = AUTO) -> str | None:
    """Why a pack cannot be used with a backend, or None; as `files.complaint`."""
    if name is None:
        return None
    try:
        pack = _find(name)
    except ValueError as error:
        return str(error)
    chosen = _backend(pack, backend)
    if find_spec(chosen) is None:
        return f"Run `{BACKENDS[chosen].install}` with the Python of ComfyUI; {chosen} is not installed."
    return BACKENDS[chosen].complaint(pack)


def fingerprint(name: str | None) -> object:
    """Changes when a file of the pack is exchanged."""
    folder = None if name is None else _folders().get(name)
    return folder and _fingerprint(folder)


def load(name: str, backend: str = AUTO) -> Reader:
    """The networks of a pack; the same object while anyone holds it.

    Raises ValueError when the pack cannot be used with the backend or that is not installed, ModuleNotFoundError when
    its installation is broken.
    """
    if (reason := complaint(name, backend)) is not None:
        raise ValueError(reason)
    pack = _find(name)
    chosen = _backend(pack, backend)
    key = (chosen, str(memory.get_torch_device()), _fingerprint(pack.folder))
    reader: Reader = _loaded.get(key, lambda: BACKENDS[chosen].reader(pack, _providers()))
    return reader


def reader_of(value: Any) -> Reader:
    """A reader of what other packs call INSIGHTFACE: a reader already, or the FaceAnalysis of insightface.

    Raises ValueError for anything else.
    """
    if hasattr(value, "detect") and hasattr(value, "embed"):
        reader: Reader = value
        return reader
    return InsightFace.around(value)


def read(reader: Reader, images: Tensor, choose: Choose, index: int = 0) -> tuple[Faces, list[str]]:
    """The chosen faces of pictures, with a gap for each picture that has none, and a line for it.

    images: (images, height, width, channels), 0..1; choose: one of CHOICES. Raises ValueError when there is no face.
    """
    progress = comfy.utils.ProgressBar(len(images))
    parts: list[Faces | None] = []
    without = []
    for number, picture in enumerate(levels_and_opacity(images), start=1):
        memory.throw_exception_if_processing_interrupted()
        visible = picture[..., :3].contiguous()
        detected = reader.detect(visible)
        chosen = choose(detected, index)
        if len(chosen.scores):
            portraits = tuple(Portrait(picture, points) for points in chosen.points)
            parts.append(Faces(reader.embed(visible, chosen), portraits))
        else:
            parts.append(None)
            without.append(f"Picture {number} of {len(images)}: {_missing(len(detected.scores), index)}.")
        progress.update(1)
    if len(without) == len(images):
        raise ValueError(_no_faces(without))
    return cat(parts), without


def find(reader: Reader, images: Tensor, choose: Choose) -> list[Portrait]:
    """The chosen faces of pictures, of those that have any; images as in `read`."""
    found = []
    for picture in levels_and_opacity(images):
        chosen = choose(reader.detect(picture[..., :3].contiguous()), 0)
        found += [Portrait(picture, points) for points in chosen.points]
    return found


def _missing(faces: int, index: int) -> str:
    return f"no face with index {index}, the last is {faces - 1}" if faces else "no face was found"


def _no_faces(without: list[str]) -> str:
    return (
        "Connect a picture with a face that is seen from the front, is not covered and is at least some 50 pixels "
        f"wide, or set another index. {' '.join(without)}"
    )


def _packs() -> dict[str, Pack]:
    """Packs of face networks by name, those that can be used as they are first, and the demo's last."""
    packs = {name: _pack(folder) for name, folder in sorted(_folders().items())}
    usable_first = sorted(packs, key=lambda name: (_is_demos(packs[name]), packs[name].complaint() is not None))
    return {name: packs[name] for name in usable_first if packs[name].of_faces}


def _is_demos(pack: Pack) -> bool:
    return pack.folder.is_relative_to(_PACKAGE_MODELS / "small_world")


def _folders() -> dict[str, Path]:
    """Folders with ONNX files, by name: packs lie in models/insightface or in a folder `models` there."""
    folders: dict[str, Path] = {}
    for name in folder_paths.get_filename_list(CATEGORY):
        parts, full = PurePath(name).parent.parts, folder_paths.get_full_path(CATEGORY, name)
        inner = parts[1:] if parts[:1] == (_INNER,) else parts
        if inner and full and name.endswith(_NETWORKS):
            folders.setdefault("/".join(inner), Path(full).parent)
    return folders


def _find(name: str) -> Pack:
    folder = _folders().get(name)
    if folder is None:
        lack = "no face model was found" if name == NONE else f"there is no face model {shown(name)}"
        raise ValueError(
            f"Put the .onnx files of {_WHERE_FROM} into a folder of its own, such as "
            f"models/{CATEGORY}/auraface; {lack}. "
            f"Looked in {' and '.join(files.folders(CATEGORY))}."
        )
    return _pack(folder)


def _backend(pack: Pack, wanted: str) -> str:
    """The wanted backend; for AUTO the first that is installed and can use the pack, else the preferred one."""
    if wanted != AUTO:
        return wanted
    usable = [name for name, backend in BACKENDS.items() if find_spec(name) and backend.complaint(pack) is None]
    return usable[0] if usable else next(iter(BACKENDS))


def _providers() -> list[Any]:
    """Where networks run: on ComfyUI's GPU, if onnxruntime can."""
    device = memory.get_torch_device()
    on_gpu = device.type == "cuda" and _CUDA in networks.runtime().get_available_providers()
    return [*([(_CUDA, {"device_id": device.index or 0})] if on_gpu else []), *networks.CPU]


def _fingerprint(folder: Path) -> files.Fingerprint:
    of_pack = [*sorted(folder.glob(f"*{_NETWORKS}")), folder / insightface_packs.MANIFEST]
    states = [(file.name, file.stat()) for file in of_pack if file.exists()]
    return (str(folder), *((name, state.st_size, state.st_mtime_ns) for name, state in states))


def _pack(folder: Path) -> Pack:
    return _identify(folder, _fingerprint(folder))


@lru_cache(maxsize=64)
def _identify(folder: Path, state: files.Fingerprint) -> Pack:
    """Remembered until a file changes: opening the menu costs a stat per file."""
    return insightface_packs.pack(folder)
