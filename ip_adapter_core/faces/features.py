"""Faces as features: their embeddings from a recognition network, and their pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..vision.preprocess import fit
from .alignment import align

WIDTH = 512
"""Numbers of a face embedding."""

_UNIT = 1e-3  # networks give lengths of about 20; a length this near to 1 was normalised


class Portrait(NamedTuple):
    """A face in a picture.

    picture: (height, width, 3), or with opacity as a fourth channel, in eight-bit levels.
    points: x and y of eyes, nose and corners of the mouth, (5, 2); None for a picture that is a ready crop.
    """

    picture: Tensor
    points: Tensor | None = None

    def crop(self, size: int) -> Tensor:
        """The face, (size, size, 3), 0..1: cut out along its points, or the ready crop resized."""
        if self.points is None:
            return fit(self.picture[None] / 255, size)[0]
        return align(self.picture[..., :3], self.points[None], size)[0]

    def opacity(self, size: int, target: np.ndarray | None = None) -> Tensor:
        """How opaque the crop is, (size, size), 0..1; all of it where the picture says nothing or has ended.

        target: as in `align`.
        """
        clear = 255 - self.picture[..., 3:]
        if not clear.any():
            return torch.ones(size, size)
        if self.points is None:
            return 1 - fit(clear[None] / 255, size)[0, ..., 0]
        return 1 - align(clear, self.points[None], size, target)[0, ..., 0]


@dataclass(frozen=True, eq=False)
class Faces:
    """Several faces, each of one picture in a list.

    embeddings: as the network or another node gave them, (faces, 512).
    portraits: one for each face, or none at all.
    gaps: indices in the list of pictures of those without a face; later faces keep their indices.
    """

    embeddings: Tensor
    portraits: tuple[Portrait, ...] = ()
    gaps: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def face_indices(self) -> tuple[int, ...]:
        """For each picture of the list the index of its face; in a gap the face before it, or the first face."""
        count = len(self) + len(self.gaps)
        filled = [index not in self.gaps for index in range(count)]
        return tuple(max(sum(filled[: index + 1]) - 1, 0) for index in range(count))

    @property
    def raw(self) -> Tensor:
        """Embeddings that are not normalised. Raises ValueError when they are."""
        lengths = self.embeddings.norm(dim=-1)
        if ((lengths - 1).abs() < _UNIT).all():
            raise ValueError(
                "Connect Face Embedding, or the raw `embedding` of the other node; these face embeddings "
                "are already normalised (of length 1), and this adapter needs them raw, as the "
                "recognition network gives them."
            )
        return self.embeddings

    def crops(self, size: int) -> Tensor | None:
        """The faces' pictures, (faces, size, size, 3), 0..1; None when there are only embeddings."""
        return torch.stack([portrait.crop(size) for portrait in self.portraits]) if self.portraits else None

    def opacity(self, size: int, target: np.ndarray | None = None) -> Tensor | None:
        """How opaque each crop is, (faces, size, size), 0..1; None when no picture has a fourth channel.

        target: as in `align`.
        """
        if all(portrait.picture.shape[-1] == 3 for portrait in self.portraits):
            return None
        return torch.stack([portrait.opacity(size, target) for portrait in self.portraits])


def cat(parts: Sequence[Faces | None]) -> Faces:
    """All faces of several lists, in order, with a gap for each None; with portraits only if all of them have some."""
    lists = [part for part in parts if part is not None]
    all_have_portraits = all(part.portraits for part in lists)
    portraits = tuple(portrait for part in lists for portrait in part.portraits) if all_have_portraits else ()
    return Faces(torch.cat([part.embeddings for part in lists]), portraits, tuple(_gaps(parts)))


def _gaps(parts: Sequence[Faces | None]) -> Iterator[int]:
    index = 0
    for part in parts:
        if part is None:
            yield index
        index += 1 if part is None else len(part)
