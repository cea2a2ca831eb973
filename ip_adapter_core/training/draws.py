"""The random numbers of a training step; they are the same in an interrupted run, and for any number of processes."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from .settings import Settings


class Drops(NamedTuple):
    """Which rows of a batch are trained without a condition.

    image: whether the image is dropped, (rows,).
    text: whether the text is dropped, (rows,).
    """

    image: Tensor
    text: Tensor

    def part(self, rows: slice) -> Drops:
        """The same for some of the rows."""
        return Drops(self.image[rows], self.text[rows])


class Draws(NamedTuple):
    """The random numbers of a batch.

    shares: of the training time, [0, 1), (rows,).
    drops: dropped conditions.
    noise: (rows, channels, height, width).
    """

    shares: Tensor
    drops: Drops
    noise: Tensor

    def part(self, rows: slice) -> Draws:
        """The same for some of the rows."""
        return Draws(self.shares[rows], self.drops.part(rows), self.noise[rows])


class DataPosition(NamedTuple):
    """The position of a batch in a run.

    step: of the optimizer, from 0.
    part: number of the batch within the step, from 0.
    """

    step: int
    part: int


class DataOrder:
    """Examples in shuffled epochs: each comes once before any comes again."""

    def __init__(self, examples: int, seed: int) -> None:
        self._examples, self._seed = examples, seed
        self._epochs: dict[int, Tensor] = {}

    def indices(self, first: int, count: int) -> list[int]:
        """The examples at positions first, …, first + count - 1 of the endless sequence."""
        positions = range(first, first + count)
        epochs = range(positions[0] // self._examples, positions[-1] // self._examples + 1)
        self._epochs = {epoch: self._shuffle(epoch) for epoch in epochs}
        return [int(self._epochs[position // self._examples][position % self._examples]) for position in positions]

    def _shuffle(self, epoch: int) -> Tensor:
        if epoch in self._epochs:
            return self._epochs[epoch]
        return torch.randperm(self._examples, generator=generator(self._seed, "epoch", epoch))


def draw(settings: Settings, position: DataPosition, latents: tuple[int, ...]) -> Draws:
    """The random numbers of a whole batch, on the CPU; latents: the shape of one row."""
    random = generator(settings.seed, *position)
    shares, chances = torch.rand(2, settings.batch, generator=random)
    return Draws(shares, drops(chances, settings), torch.randn(settings.batch, *latents, generator=random))


def drops(chances: Tensor, settings: Settings) -> Drops:
    """One uniform number for each row decides whether the image, the text, both or nothing is dropped."""
    image_ends = settings.drop_image
    text_ends = image_ends + settings.drop_text
    both = (chances >= text_ends) & (chances < text_ends + settings.drop_both)
    return Drops((chances < image_ends) | both, ((chances >= image_ends) & (chances < text_ends)) | both)


def generator(*seeds: int | str) -> torch.Generator:
    """A generator that depends on the combination of seeds alone."""
    digest = hashlib.blake2b(repr(seeds).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
