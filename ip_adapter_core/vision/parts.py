"""Where the tensors of OpenCLIP's visual tower are in a file, and how they are made of those in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from ..files.tensor_file import Entry, Shape, joined, joined_shape

_ALL = (0, 3)


class Part(NamedTuple):
    """Where one tensor of the tower is in a file.

    keys: of the tensor, or of several that are concatenated along their first dimension.
    transposed: whether the file has it transposed.
    thirds: which thirds of the file's tensor it is, along the first dimension: from and to.
    axes: number of dimensions of length 1 that it has before those in the file.
    zeros: whether no file has it, and it is zeros, as many as the tensor of its key has in its last dimension.
    """

    keys: tuple[str, ...]
    transposed: bool = False
    thirds: tuple[int, int] = _ALL
    axes: int = 0
    zeros: bool = False

    def shape(self, entries: Mapping[str, Entry]) -> Shape:
        """Its shape, from the header of the file alone."""
        shapes = [tuple(entries[key].shape) for key in self.keys]
        first = shapes[0]
        if self.zeros:
            return first[-1:]
        if self.transposed:
            return first[::-1]
        if self.thirds != _ALL and first:
            start, stop = self.thirds
            return (stop * first[0] // 3 - start * first[0] // 3, *first[1:])
        return (1,) * self.axes + joined_shape(shapes)

    def value(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """It, made of the tensors of the file."""
        first = tensors[self.keys[0]]
        if self.zeros:
            return first.new_zeros(first.shape[-1])
        if self.transposed:
            return first.T
        if self.thirds != _ALL:
            return first[slice(*(part * len(first) // 3 for part in self.thirds))]
        return joined([tensors[key] for key in self.keys])[(None,) * self.axes]


class Layout(NamedTuple):
    """How a file names the tensors of a tower.

    prefix: what stands before OpenCLIP's names in the file; empty when the file uses other names.
    parts: by OpenCLIP's name, where the tensor is in the file.
    """

    prefix: str
    parts: dict[str, Part]
