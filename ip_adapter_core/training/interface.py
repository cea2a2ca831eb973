"""What a training run needs of a frozen model, what it reports, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Base(Protocol):
    """A frozen diffusion model, as training needs it."""

    @property
    def prediction(self) -> str:
        """What it predicts, a row of `objective.OBJECTIVES`."""
        ...

    @property
    def device(self) -> torch.device:
        """The device on which it computes."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which it computes."""
        ...

    def sigmas(self, shares: Tensor) -> Tensor:
        """Noise levels (rows,) from shares of the training time, [0, 1), (rows,)."""
        ...

    def noised(self, latents: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
        """Latents with noise at these levels, (rows, channels, height, width)."""
        ...

    def denoised(self, noisy: Tensor, sigmas: Tensor, text: Mapping[str, Tensor], image: Any) -> Tensor:
        """The model's estimate of the clean latents, with gradients towards `image`.

        text: the rows of the examples beside latents, features and counts. image: the output of the network.
        """
        ...


class Step(NamedTuple):
    """A finished step.

    number: from 1.
    of: number of all steps.
    loss: of this step.
    rate: learning rate of this step.
    """

    number: int
    of: int
    loss: float
    rate: float


class Outcome(NamedTuple):
    """The result of a training run.

    losses: of every step.
    network: the one to use.
    steps: number of steps it has made.
    """

    losses: list[float]
    network: nn.Module
    steps: int
