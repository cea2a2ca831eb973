"""Packs of face networks: folders with a network that finds faces and one that recognises them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from .networks import DETECTION, RECOGNITION, NetworkKind, kind_of

MANIFEST = "manifest.json"
_NEEDED = (DETECTION, RECOGNITION)


class Pack(NamedTuple):
    """The ONNX files of a folder.

    folder: where they are.
    networks: the first network of each kind.
    others: names of the other files.
    damaged: errors of files that cannot be read.
    """

    folder: Path
    networks: dict[NetworkKind, Path]
    others: tuple[str, ...]
    damaged: tuple[str, ...]

    @property
    def is_declared(self) -> bool:
        """Whether the folder has a manifest with the networks' inputs; only insightface follows it."""
        return (self.folder / MANIFEST).exists()

    @property
    def of_faces(self) -> bool:
        """Whether the folder is for faces at all."""
        return bool(self.networks) or self.is_declared

    def complaint(self) -> str | None:
        """Why onnxruntime cannot run its networks, in words; None when it can."""
        if self.is_declared:
            return (
                f"Install the insightface package, or choose another model; {self.folder.name} says in {MANIFEST} how "
                "to use it, which only that package follows."
            )
        missing = " and ".join(kind.name for kind in _NEEDED if kind not in self.networks)
        if not missing:
            return None
        return f"Choose another model; {self.folder.name} has no network for {missing}. It has {self.describe()}."

    def describe(self) -> str:
        """Its files, in words."""
        named = [f"{path.name} ({kind.name})" for kind, path in self.networks.items()]
        return ", ".join([*named, *self.damaged, *([f"{len(self.others)} more"] if self.others else [])])


def pack(folder: Path) -> Pack:
    """What the ONNX files of a folder are, by their inputs and outputs."""
    networks, others, damaged = dict[NetworkKind, Path](), list[str](), list[str]()
    for file in sorted(folder.glob("*.onnx")):
        try:
            kind = kind_of(file)
        except ValueError as error:
            damaged.append(str(error))
            continue
        if kind is None or kind in networks:
            others.append(file.name)
        else:
            networks[kind] = file
    return Pack(folder, networks, tuple(others), tuple(damaged))
