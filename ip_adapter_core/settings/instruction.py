"""What to take from pictures, in words that a text encoder has read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Instruction:
    """What an adapter of an instructed kind is told: states of a text encoder, (1, words, width) each.

    instruction: what to take from the pictures.
    prompt: what the result shows.
    negative: what it does not show.
    nothing: an empty text, which stands for no instruction.
    """

    instruction: Tensor
    prompt: Tensor
    negative: Tensor
    nothing: Tensor
