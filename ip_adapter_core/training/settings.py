"""The settings of a training run; the defaults are the published ones."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

Limits = tuple[float, float, str]

_ANY = math.inf
_COUNT: Limits = (1, _ANY, "a whole number from 1")
_NUMBER: Limits = (0, _ANY, "a number from 0")
_SHARE: Limits = (0, 1, "a share from 0 to 1")
_LIMITS: dict[str, Limits] = {
    **dict.fromkeys(("steps", "batch", "accumulate", "save_every"), _COUNT),
    **dict.fromkeys(("learning_rate", "weight_decay", "warmup", "clip"), _NUMBER),
    **dict.fromkeys(("drop_text", "drop_image", "drop_both", "ema"), _SHARE),
}
# Settings that a continued run may change: they do not affect what a step computes.
_FREE = ("steps", "save_every", "gradient_checkpointing")


@dataclass(frozen=True)
class Settings:
    """How to train; the defaults are the paper's (section 4.1.2) when it names a number.

    steps: number of optimizer steps.
    batch: pictures of one forward pass, over all processes.
    learning_rate: of AdamW.
    weight_decay: of AdamW.
    drop_text: how often the text is left out, 0..1, so that the model can be guided.
    drop_image: how often the image is left out, 0..1.
    drop_both: how often both are left out, 0..1.
    accumulate: batches of an optimizer step.
    seed: of all random numbers.
    ema: decay of the averaged weights, 0 for no average.
    warmup: steps in which the learning rate rises from 0.
    decay: whether the learning rate falls to 0 along a cosine.
    gradient_checkpointing: whether the `Base` computes the frozen model twice to save memory.
    save_every: steps between two writings of the state.
    clip: largest norm of the gradients, 0 for no limit.
    """

    steps: int = 1000
    batch: int = 8
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    drop_text: float = 0.05
    drop_image: float = 0.05
    drop_both: float = 0.05
    accumulate: int = 1
    seed: int = 0
    ema: float = 0.0
    warmup: int = 0
    decay: bool = False
    gradient_checkpointing: bool = False
    save_every: int = 500
    clip: float = 0.0

    def check(self) -> None:
        """Raises ValueError, in the user's words, for a number that is not valid."""
        for name, (least, most, meaning) in _LIMITS.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= most):
                raise ValueError(f"Set {name} to {meaning}; found {value}.")
        if self.drop_text + self.drop_image + self.drop_both > 1:
            raise ValueError("Lower drop_text, drop_image or drop_both; they add up to more than 1.")
        if self.ema == 1:
            raise ValueError("Set ema to a decay such as 0.999, or 0 for none; with 1 it never learns.")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        if not self.decay or step < self.warmup:
            return self.learning_rate * warm
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (1 + math.cos(math.pi * share)) / 2

    def lasting(self) -> dict[str, float]:
        """The settings that a continued run must share with the run it continues."""
        fixed = {name: value for name, value in asdict(self).items() if name not in _FREE}
        return fixed | ({"steps": self.steps} if self.decay else {})
