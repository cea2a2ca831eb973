"""TABLE of the ways in which several reference images become one prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..text.number_lists import Wanted, numbers
from ..text.wording import listed, quoted

Merge = Callable[[Tensor, Tensor], Tensor]
"""Features (images, …, width) and weights (images,) -> features of one image (1, …, width)."""


@dataclass(frozen=True)
class CombineMode:
    """One way to combine images: a row of WAYS.

    merge makes features of one image of them before the projection; without it every image keeps tokens of its own:
    all under one softmax, apart (each image with a softmax of its own), or framed (each for its own frame).
    """

    merge: Merge | None = None
    apart: bool = False
    framed: bool = False

    @property
    def shares_softmax(self) -> bool:
        """Whether all tokens stand under one softmax."""
        return self.merge is None and not (self.apart or self.framed)


def _share(weights: Tensor, like: Tensor) -> Tensor:
    return weights.reshape(-1, *(1,) * (like.ndim - 1)).to(like)


def _weigh(found: Tensor, weights: Tensor) -> Tensor:
    return found * _share(weights, found)


def _add(found: Tensor, weights: Tensor) -> Tensor:
    return _weigh(found, weights).sum(0, keepdim=True)


def _subtract(found: Tensor, weights: Tensor) -> Tensor:
    parts = _weigh(found, weights)
    return parts[:1] - parts[1:].mean(0, keepdim=True) if len(parts) > 1 else parts


def _average(found: Tensor, weights: Tensor) -> Tensor:
    total = weights.sum().item()
    if not total:
        raise ValueError("The weights of the images add up to 0, so they have no average; change one of them.")
    return _add(found, weights) / total


def _norm_average(found: Tensor, weights: Tensor) -> Tensor:
    """The average of the directions times the average of the lengths: no image counts more for being longer."""
    lengths = found.norm(dim=-1, keepdim=True)
    directions = found / lengths.clamp(min=1e-12)
    return _average(directions, weights) * _average(lengths, weights)


def _norm_average_across(found: Tensor, weights: Tensor) -> Tensor:
    """As IPAdapter Plus has it: every number divided by its length across the images, which is no average of them."""
    parts = _weigh(found, weights)
    return (parts / parts.norm(dim=0, keepdim=True).clamp(min=1e-12)).mean(0, keepdim=True)


def _largest(found: Tensor, weights: Tensor) -> Tensor:
    return _weigh(found, weights).amax(0, keepdim=True)


def _smallest(found: Tensor, weights: Tensor) -> Tensor:
    return _weigh(found, weights).amin(0, keepdim=True)


COMBINE_MODES: dict[str, CombineMode] = {
    "concat": CombineMode(),
    "separate": CombineMode(apart=True),
    "one per frame": CombineMode(framed=True),
    "average": CombineMode(_average),
    "norm average": CombineMode(_norm_average),
    "add": CombineMode(_add),
    "subtract": CombineMode(_subtract),
    "max": CombineMode(_largest),
    "min": CombineMode(_smallest),
    "norm average (IPAdapter Plus)": CombineMode(_norm_average_across),
}


@dataclass(frozen=True, eq=False)
class Gathering:
    """How images become one prompt: a row of WAYS, a weight for each image (none: 1) and a mask for each (none: no
    mask), (images, height, width)."""

    how: str = "concat"
    weights: tuple[float, ...] = ()
    masks: Tensor | None = None

    def check(self, images: int, what: str = "image") -> Gathering:
        """This gathering with a weight for each of so many images, or whatever they are.

        Raises ValueError where weights or masks are not as many, or cannot be meant.
        """
        weights = self.weights or (1.0,) * images
        if self.how not in COMBINE_MODES:
            raise ValueError(f"Set combine to one of {', '.join(COMBINE_MODES)}; found {quoted(self.how)}.")
        for name, found in (("weights", len(weights)), ("masks", images if self.masks is None else len(self.masks))):
            if found != images:
                raise ValueError(f"Give {name} for each {what}, or none at all; {what}s: {images}, {name}: {found}.")
        if not all(map(math.isfinite, weights)):
            raise ValueError(f"Set all weights of the {what}s to finite numbers; found {listed(weights)}.")
        if not any(weights) and not COMBINE_MODES[self.how].framed:
            raise ValueError(f"Give one of the {what}s a weight that is not 0; found only 0, which leaves nothing.")
        if self.way.shares_softmax and min(weights) < 0:
            raise ValueError(
                f"Combine the {what}s by separate, as under one softmax no weight can be below 0; found "
                f"{listed(weights)}."
            )
        return Gathering(self.how, weights, self.masks)

    def without(self, gaps: Collection[int]) -> Gathering:
        """This checked gathering with weight 0 for some images: they are left out, and frames keep their places."""
        weights = tuple(0.0 if number in gaps else weight for number, weight in enumerate(self.weights))
        return Gathering(self.how, weights, self.masks)

    @property
    def way(self) -> CombineMode:
        """What the images become: under masks, parts that stand apart, as one softmax has no places."""
        way = COMBINE_MODES[self.how]
        if self.masks is None or way.framed:
            return way
        if way.merge:
            raise ValueError(f"Combining by {self.how} makes one image of all, so there is nothing to mask one by one.")
        return COMBINE_MODES["separate"]


CONCAT = Gathering()


_WEIGHTS = Wanted("the weights of the images", "numbers such as 1, 0.5", float)


def read_weights(text: str) -> tuple[float, ...]:
    """The numbers of a text such as `1, 0.5`; none for an empty one. Raises ValueError naming what is no number."""
    return numbers(text, _WEIGHTS)


def attn_bias(weights: Sequence[float], tokens: int) -> Tensor | None:
    """The logarithm of how often each token counts under one softmax, (images·tokens,); None where all count alike."""
    if len(set(weights)) == 1:
        return None
    return torch.tensor(weights).log().repeat_interleave(tokens)
