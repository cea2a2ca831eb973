"""The training objective: the error of a frozen model's estimate of the clean latents."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Weight = Callable[[Tensor], Tensor]

# The published losses are squared errors of the noise, of v (arXiv 2202.00512) and of the flow's velocity. Each is the
# squared error of the clean estimate times a weight of the noise level: the derivative of the estimate, inverted.
OBJECTIVES: dict[str, Weight] = {
    "eps": lambda sigma: sigma**-2,
    "v": lambda sigma: 1 + sigma**-2,
    "flow": lambda sigma: sigma**-2,
}


def loss(prediction: str, denoised: Tensor, clean: Tensor, sigmas: Tensor, counts: Tensor | None = None) -> Tensor:
    """The mean squared error of a model's prediction, in fp32.

    prediction: what it predicts, a row of OBJECTIVES. denoised, clean: (rows, channels, height, width). sigmas: (rows,)
    counts: how much an error counts at each place, (rows, 1, height, width); the same everywhere without.
    """
    squares = (denoised.float() - clean.float()).square()
    errors = (squares if counts is None else squares * counts).flatten(1).mean(dim=1)
    return (errors * OBJECTIVES[prediction](sigmas.float())).mean()
