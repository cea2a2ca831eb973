"""Every random choice of a training step, the same however often a run stops and however many processes share it."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from .settings import Settings


class Drops(NamedTuple):
    """Which rows of a batch go without their condition, (rows) each."""

    image: Tensor
    text: Tensor

    def part(self, rows: slice) -> Drops:
        """Those of some rows."""
        return Drops(self.image[rows], self.text[rows])


class Draws(NamedTuple):
    """The random numbers of a batch: shares of training time and drops (rows), noise (rows, c, h, w)."""

    shares: Tensor
    drops: Drops
    noise: Tensor

    def part(self, rows: slice) -> Draws:
        """Those of some rows."""
        return Draws(self.shares[rows], self.drops.part(rows), self.noise[rows])


class DataPosition(NamedTuple):
    """Where a batch stands in a run: the optimizer step, and the batch within it, from 0."""

    step: int
    part: int


class Order:
    """Examples in shuffled epochs: each comes once before any comes again."""

    def __init__(self, examples: int, seed: int) -> None:
        self._examples, self._seed = examples, seed
        self._epochs: dict[int, Tensor] = {}

    def indices(self, first: int, count: int) -> list[int]:
        """The examples at places first, …, first + count - 1 of the endless sequence."""
        places = range(first, first + count)
        epochs = range(places[0] // self._examples, places[-1] // self._examples + 1)
        self._epochs = {epoch: self._shuffled(epoch) for epoch in epochs}
        return [int(self._epochs[place // self._examples][place % self._examples]) for place in places]

    def _shuffled(self, epoch: int) -> Tensor:
        if epoch in self._epochs:
            return self._epochs[epoch]
        return torch.randperm(self._examples, generator=generator(self._seed, "epoch", epoch))


def draw(settings: Settings, place: DataPosition, latents: tuple[int, ...]) -> Draws:
    """The random numbers of the whole batch at a place, on the CPU; latents: the shape of one row."""
    random = generator(settings.seed, *place)
    shares, chances = torch.rand(2, settings.batch, generator=random)
    return Draws(shares, drops(chances, settings), torch.randn(settings.batch, *latents, generator=random))


def drops(chances: Tensor, settings: Settings) -> Drops:
    """One uniform draw per row decides between image, text, both and none; the intervals exclude each other."""
    image_ends = settings.drop_image
    text_ends = image_ends + settings.drop_text
    both = (chances >= text_ends) & (chances < text_ends + settings.drop_both)
    return Drops((chances < image_ends) | both, ((chances >= image_ends) & (chances < text_ends)) | both)


def generator(*seeds: int | str) -> torch.Generator:
    """A generator of its own for every combination of seeds."""
    digest = hashlib.blake2b(repr(seeds).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
