"""What a training run learns from: rows of latents, image features and text, and the values of dropped conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from .draws import Drops

Rows = dict[str, Tensor]

LATENTS, FEATURES, CONTEXT, COUNTS = "latents", "features", "context", "counts"


class Examples(Protocol):
    """Pictures with their texts, encoded.

    Tensors are on the CPU in any float dtype, or whole numbers for the base to read.
    """

    @property
    def identity(self) -> str:
        """A text that tells the pictures and captions, so that a run continues with the same ones; empty if unknown."""
        ...

    @property
    def nulls(self) -> Mapping[str, Tensor]:
        """Values of a dropped condition: `features` (1, …), `context` (1, tokens, width) and any other of the text."""
        ...

    def __len__(self) -> int: ...

    def rows(self, indices: Sequence[int]) -> Rows:
        """Examples by number: latents (n, c, h, w), features (n, …), context (n, tokens, width), and more of the text.

        counts, (n, 1, h, w), where there are any: how much an error counts at each place.
        """
        ...


class TensorExamples:
    """Examples that fit in memory: one tensor per name, a row per example."""

    identity = ""

    def __init__(self, rows: Mapping[str, Tensor], nulls: Mapping[str, Tensor]) -> None:
        if len({len(tensor) for tensor in rows.values()}) != 1:
            counts = ", ".join(f"{len(tensor)} {name}" for name, tensor in rows.items())
            raise ValueError(f"Give every example a row of each kind; there are {counts}.")
        self._rows, self.nulls = dict(rows), dict(nulls)

    def __len__(self) -> int:
        return len(self._rows[LATENTS])

    def rows(self, indices: Sequence[int]) -> Rows:
        """The examples with these numbers."""
        return {name: tensor[list(indices)] for name, tensor in self._rows.items()}


def check(examples: Examples) -> None:
    """Raises ValueError, before a step is made, when the examples lack something that training needs."""
    if not len(examples):
        raise ValueError("Give at least one picture; there is nothing to train on.")
    first = examples.rows([0])
    for name in (LATENTS, FEATURES, CONTEXT):
        if name not in first:
            raise ValueError(f"Give each example latents, features and a context; found none of {name}.")
    for name in (FEATURES, CONTEXT):
        if name not in examples.nulls:
            raise ValueError(f"Give nulls too, which say what a dropped condition is; they lack {name}.")
    for name, null in examples.nulls.items():
        if name in first and null.shape != first[name].shape:
            shape, needed = list(null.shape), list(first[name].shape)
            raise ValueError(f"Give the null of {name} the shape {needed} of examples; found {shape}.")


def without_dropped(rows: Rows, nulls: Mapping[str, Tensor], drops: Drops) -> Rows:
    """The rows with nulls in place of dropped conditions; tensors without a null stay as they are."""
    return {name: _drop(name, tensor, nulls, drops) for name, tensor in rows.items()}


def _drop(name: str, tensor: Tensor, nulls: Mapping[str, Tensor], drops: Drops) -> Tensor:
    if name not in nulls:
        return tensor
    dropped = drops.image if name == FEATURES else drops.text
    return torch.where(dropped.reshape(-1, *[1] * (tensor.ndim - 1)), nulls[name].to(tensor.dtype), tensor)
