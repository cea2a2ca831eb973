"""What every training of the recipe has in common: AdamW, one cycle of the learning rate, a report of the losses."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from .shelf import Report


class Descent:
    """A training's way downhill: `step` for each loss, `end` after the last.

    warm: the share of the steps in which the rate rises to `rate`; clip: largest norm of the gradients.
    """

    def __init__(
        self,
        name: str,
        weights: Iterable[nn.Parameter],
        steps: int,
        rate: float,
        *,
        decay: float = 0.01,
        memory: tuple[float, float] = (0.9, 0.999),
        warm: float = 0.05,
        clip: float = math.inf,
    ) -> None:
        self.weights, self.clip = list(weights), clip
        self.optimizer = torch.optim.AdamW(self.weights, lr=rate, betas=memory, weight_decay=decay)
        self.schedule = OneCycleLR(self.optimizer, rate, steps, pct_start=warm)
        self.report = Report(name)

    def step(self, loss: Tensor) -> bool:
        """Go down the gradient of a loss; whether it is time to keep what there is."""
        self.optimizer.zero_grad()
        loss.backward()
        if math.isfinite(self.clip):
            nn.utils.clip_grad_norm_(self.weights, self.clip)
        self.optimizer.step()
        self.schedule.step()
        return self.report.step(loss.item())

    def end(self) -> None:
        """Keep the loss curve."""
        self.report.keep()
