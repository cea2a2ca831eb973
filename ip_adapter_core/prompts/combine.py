"""TABLE of the ways in which several reference images become one prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..text.checks import check_choice
from ..text.number_lists import Wanted, numbers
from ..text.wording import listed

Merge = Callable[[Tensor, Tensor], Tensor]
"""Features (images, …, width) and weights (images,) -> features of one image (1, …, width)."""


@dataclass(frozen=True)
class CombineMode:
    """One way to combine images: a row of COMBINE_MODES.

    merge: makes the features of one image of them, before the projection; None keeps the tokens of every image.
    apart: whether each image has a softmax of its own.
    framed: whether each image is for a frame of its own.
    """

    merge: Merge | None = None
    apart: bool = False
    framed: bool = False

    @property
    def shares_softmax(self) -> bool:
        """Whether the tokens of all images share one softmax."""
        return self.merge is None and not (self.apart or self.framed)


def _weigh(features: Tensor, weights: Tensor) -> Tensor:
    return features * weights.reshape(-1, *(1,) * (features.ndim - 1)).to(features)


def _add(features: Tensor, weights: Tensor) -> Tensor:
    return _weigh(features, weights).sum(0, keepdim=True)


def _subtract(features: Tensor, weights: Tensor) -> Tensor:
    parts = _weigh(features, weights)
    return parts[:1] - parts[1:].mean(0, keepdim=True) if len(parts) > 1 else parts


def _average(features: Tensor, weights: Tensor) -> Tensor:
    total = weights.sum().item()
    if not total:
        raise ValueError("Change one of the weights of the images; they add up to 0, so they have no average.")
    return _add(features, weights) / total


def _norm_average(features: Tensor, weights: Tensor) -> Tensor:
    """The average of the directions times the average of the lengths: a longer embedding does not count more."""
    lengths = features.norm(dim=-1, keepdim=True)
    directions = features / lengths.clamp(min=1e-12)
    return _average(directions, weights) * _average(lengths, weights)


def _norm_average_across(features: Tensor, weights: Tensor) -> Tensor:
    """IPAdapter Plus's formula: every number is divided by its length across the images, so it is no true average."""
    parts = _weigh(features, weights)
    return (parts / parts.norm(dim=0, keepdim=True).clamp(min=1e-12)).mean(0, keepdim=True)


def _largest(features: Tensor, weights: Tensor) -> Tensor:
    return _weigh(features, weights).amax(0, keepdim=True)


def _smallest(features: Tensor, weights: Tensor) -> Tensor:
    return _weigh(features, weights).amin(0, keepdim=True)


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
    """How images become one prompt.

    how: a row of COMBINE_MODES.
    weights: one for each image; empty means 1 for all.
    masks: one for each image, (images, height, width); None means no masks.
    """

    how: str = "concat"
    weights: tuple[float, ...] = ()
    masks: Tensor | None = None

    def check(self, images: int, what: str = "image") -> Gathering:
        """This gathering with a weight for each of `images` images.

        what: the word for an image in errors. Raises ValueError when the number of weights or masks differs, or when a
        weight is not valid.
        """
        weights = self.weights or (1.0,) * images
        check_choice("combine", self.how, COMBINE_MODES)
        for name, count in (("weights", len(weights)), ("masks", images if self.masks is None else len(self.masks))):
            if count != images:
                raise ValueError(f"Give {name} for each {what}, or none at all; {what}s: {images}, {name}: {count}.")
        if not all(map(math.isfinite, weights)):
            raise ValueError(f"Set all weights of the {what}s to finite numbers; found {listed(weights)}.")
        if not any(weights) and not COMBINE_MODES[self.how].framed:
            raise ValueError(f"Give one of the {what}s a weight that is not 0; found only 0, which leaves nothing.")
        if self.mode.shares_softmax and min(weights) < 0:
            raise ValueError(
                f"Combine the {what}s by separate, as under one softmax no weight can be below 0; found "
                f"{listed(weights)}."
            )
        return Gathering(self.how, weights, self.masks)

    def without(self, gaps: Collection[int]) -> Gathering:
        """This checked gathering with weight 0 for some images; frames keep their places."""
        weights = tuple(0.0 if number in gaps else weight for number, weight in enumerate(self.weights))
        return Gathering(self.how, weights, self.masks)

    @property
    def mode(self) -> CombineMode:
        """How the images are combined; with masks always apart, because one softmax cannot differ between places."""
        mode = COMBINE_MODES[self.how]
        if self.masks is None or mode.framed:
            return mode
        if mode.merge:
            raise ValueError(
                f"Set combine to separate, or leave the masks empty; {self.how} makes one image of all, "
                "so there is nothing to mask one by one."
            )
        return COMBINE_MODES["separate"]


CONCAT = Gathering()


_WEIGHTS = Wanted("the weights of the images", "numbers such as 1, 0.5", float)


def read_weights(text: str) -> tuple[float, ...]:
    """The numbers of a text such as `1, 0.5`; none for an empty text. Raises ValueError that quotes the wrong one."""
    return numbers(text, _WEIGHTS)


def attn_bias(weights: Sequence[float], tokens: int) -> Tensor | None:
    """The logarithm of how often each token counts under one softmax, (images · tokens,); None when all count alike."""
    if len(set(weights)) == 1:
        return None
    return torch.tensor(weights).log().repeat_interleave(tokens)
