"""Face embeddings from files and from other nodes, as faces; and the folders in which ComfyUI keeps the files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import folder_paths
import torch
from torch import Tensor

from ...ip_adapter_core.faces import embeds
from ...ip_adapter_core.faces.embeds import embeddings
from ...ip_adapter_core.faces.features import Faces, Portrait
from ...ip_adapter_core.vision.preprocess import levels_and_opacity
from . import files

CATEGORY = "face_embeds"
NONE = "none"

_FOLDERS = ((CATEGORY,), ("reactor", "faces"))  # of ComfyUI's models; the second is where ReActor saves face models


def register() -> None:
    """Make ComfyUI look for face embeddings in its own folders and the user's extra paths."""
    for parts in _FOLDERS:
        folder_paths.add_model_folder_path(CATEGORY, os.path.join(folder_paths.models_dir, *parts))
    paths, extensions = folder_paths.folder_names_and_paths[CATEGORY]
    folder_paths.folder_names_and_paths[CATEGORY] = (paths, {*extensions, *embeds.EXTENSIONS})


def names() -> list[str]:
    """The files that the menu offers, after NONE."""
    return [NONE, *folder_paths.get_filename_list(CATEGORY)]


def complaint(name: str | None) -> str | None:
    """Why a file cannot be used, or None; as `files.complaint`."""
    try:
        if name not in (None, NONE):
            _read(str(name))
        return None
    except ValueError as error:
        return str(error)


def fingerprint(name: str | None) -> files.Fingerprint:
    """Changes when the file is exchanged."""
    return files.fingerprint(CATEGORY, None if name == NONE else name)


def faces(name: str, connected: Any | None, images: Tensor | None) -> Faces:
    """The faces of a file, then those of embeddings that another node gives; images: their ready crops, one for each.

    Raises ValueError when there is neither, when they are no face embeddings, or when pictures do not match faces.
    """
    parts = [] if name == NONE else [_read(name)]
    parts += [] if connected is None else [embeddings(connected)]
    if not parts:
        raise ValueError("Choose a file of face embeddings, or connect an embedding.")
    vectors = torch.cat(parts)
    if images is not None and len(images) != len(vectors):
        raise ValueError(f"Connect one picture for each face, or none; faces: {len(vectors)}, pictures: {len(images)}.")
    crops = () if images is None else levels_and_opacity(images)
    return Faces(vectors, tuple(map(Portrait, crops)))


def _read(name: str) -> Tensor:
    return embeds.read(Path(files.path(CATEGORY, name)))
