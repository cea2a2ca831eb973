"""Attention maps: per pixel, how much each reference image adds to a layer, or its share of a softmax.

per layer and step   attention to a probe in place of V'   (rows, pixels, inner)
measure              one number for each pixel             (height, width) of the layer
MapAccumulator       weighted mean of layers and steps     (height, width) of the latent picture
Maps                 one map for each reference            (maps, height, width) of the picture
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ..settings.masks import Grid
from ..text.number_lists import Wanted, numbers

MOST = 16  # tokens of which maps are made; adapters of the full kinds have 257

_LEAST = 1e-12  # lower bound of lengths and weights, so that nothing is divided by zero


class MapKind(NamedTuple):
    """What a map can show: a row of MAP_KINDS.

    noun: what a map is about, "reference" or "token".
    words: what its numbers mean.
    token_groups: (number of tokens, number of images) -> the tokens of each map as 0 and 1, (maps, tokens).
    value_override: V' (…, tokens, inner) and one row of the groups (tokens, 1) -> the probe that replaces V'.
    measure: attention to the probe and to the text, (…, pixels, inner) each -> the numbers of the map, (…, pixels).
    alone: whether maps are made of the first prompt part only.
    top: the number that is white in a mask; None means the highest number that occurs.
    grows: whether the numbers grow with what is added, so that they have the factor of a balanced prompt.
    """

    noun: str
    words: str
    token_groups: Callable[[int, int], Tensor]
    value_override: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[Tensor, Tensor], Tensor]
    alone: bool = False
    top: float | None = None
    grows: bool = False


def _images(tokens: int, images: int) -> Tensor:
    return torch.eye(images).repeat_interleave(tokens // images, dim=1)


def _rivals(tokens: int, images: int) -> Tensor:
    """The tokens of each image; no maps for a single image, whose share is always 1."""
    return _images(tokens, images) if images > 1 else torch.empty(0, tokens)


def _first_tokens(tokens: int, images: int) -> Tensor:
    return torch.eye(tokens)[: min(tokens // images, MOST)]


def _own_values(values: Tensor, group: Tensor) -> Tensor:
    """V' of one group's tokens and 0 elsewhere: the attention is what this group adds under the softmax of all."""
    return values * group


def _ones(values: Tensor, group: Tensor) -> Tensor:
    """1 for one group's tokens and 0 elsewhere: the attention is the group's share of the softmax."""
    return group.expand_as(values)


def relative_length(added: Tensor, text: Tensor) -> Tensor:
    """Length of the added vector divided by the length of the text's: (…, pixels, inner) each -> (…, pixels)."""
    return added.float().norm(dim=-1) / text.float().norm(dim=-1).clamp(min=_LEAST)


def relative_norm(added: Tensor, text: Tensor) -> Tensor:
    """Norm of what is added over the text's, of each row: (rows, pixels, inner) each -> (rows,)."""
    does, may = (x.float().norm(dim=(1, 2)) for x in (added, text))
    return does / may.clamp(min=_LEAST)


def say_shares(shares: Mapping[tuple[str, int, int], float]) -> str:
    """What image prompts add to each block as a share of the text, as a sentence; shares by stage, block and depth."""
    stages: dict[str, dict[int, list[float]]] = {}
    for (stage, block, _), share in shares.items():
        stages.setdefault(stage, {}).setdefault(block, []).append(share)
    told = "; ".join(
        f"{stage} {', '.join(f'{block}: {sum(seen) / len(seen):.2g}' for block, seen in blocks.items())}"
        for stage, blocks in stages.items()
    )
    return f"References against the text, by block: {told}. On the whole {sum(shares.values()) / len(shares):.2g}."


def _mean(added: Tensor, text: Tensor) -> Tensor:
    return added.float().mean(dim=-1)  # the mean over heads; within a head all numbers are equal


MAP_KINDS: dict[str, MapKind] = {
    "influence": MapKind(
        "reference", "what it adds, relative to the text", _images, _own_values, relative_length, grows=True
    ),
    "share": MapKind("reference", "share of the attention to references", _rivals, _ones, _mean, top=1.0),
    "tokens": MapKind("token", "share of the attention to tokens", _first_tokens, _ones, _mean, alone=True),
}


class Window(NamedTuple):
    """The part of the latent picture that a layer has worked on.

    corner: row and column of its upper left cell.
    size: its height and width in cells.
    """

    corner: Grid
    size: Grid


class MapAccumulator:
    """One map while it is made: the weighted mean of what layers and steps contribute, in float32.

    The sum stays on the device of the layers and is copied to the CPU once, so that no layer waits for the device.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._sum, self._weight = torch.zeros(grid), torch.zeros(grid)

    def add(self, values: Tensor, window: Window, weight: float) -> None:
        """Add the numbers of a layer, (height, width) on the layer's own grid, with this weight."""
        cells = interpolate(values[None, None].float(), window.size, mode="bilinear")[0, 0]
        self._sum = self._sum.to(cells.device) + weight * self._place(cells, window)
        self._weight += weight * self._place(torch.ones(window.size), window)

    def _place(self, cells: Tensor, window: Window) -> Tensor:
        """The window's cells on the whole grid, 0 around them; beyond an edge they continue at the opposite edge."""
        below, beside = (whole - length for whole, length in zip(self._grid, window.size, strict=True))
        return pad(cells, (0, beside, 0, below)).roll(window.corner, (0, 1))

    @property
    def seen(self) -> bool:
        """Whether any layer contributed."""
        return bool(self._weight.any())

    def mean(self) -> Tensor:
        """The map, (height, width), on the CPU; 0 where no layer contributed."""
        return self._sum.cpu() / self._weight.clamp(min=_LEAST)


SCALES = ("from zero", "lowest to highest")
"""What the darkest colour, and 0 in a mask, mean: the number zero, or the lowest number that occurs."""


@dataclass(frozen=True, eq=False)
class Maps:
    """The maps of a picture.

    show: what they show, a row of MAP_KINDS.
    names: of each map, such as "reference 1".
    values: (maps, height, width).
    scale: how numbers become colours, a row of SCALES.
    """

    show: MapKind
    names: tuple[str, ...]
    values: Tensor
    scale: str = SCALES[0]

    @staticmethod
    def of(accumulators: Mapping[str, MapAccumulator], show: MapKind, size: Grid, scale: str = SCALES[0]) -> Maps:
        """The means of accumulators, stretched to a picture of this size."""
        means = torch.stack([accumulator.mean() for accumulator in accumulators.values()])
        return Maps(show, tuple(accumulators), interpolate(means[None], size, mode="bilinear")[0], scale)

    @property
    def ends(self) -> tuple[float, float]:
        """The darkest and the brightest number: the same for all maps, so that maps can be compared."""
        least, most = float(self.values.min()), float(self.values.max())
        if self.scale == SCALES[0]:
            least, most = 0.0, self.show.top or most
        return least, most if most > least else least + 1

    def masks(self) -> Tensor:
        """The maps as masks, 0..1."""
        least, most = self.ends
        return ((self.values - least) / (most - least)).clamp(0, 1)


def read_steps(text: str) -> tuple[float, ...]:
    """Fractions of the noise schedule from a text such as `0.2, 0.4`, in rising order without repetition.

    0 is all noise, 1 is no noise. Raises ValueError that quotes what cannot be read, and for an empty text.
    """
    fractions = sorted(set(numbers(text, _STEPS)))
    if not fractions:
        raise _STEPS.make_error()
    return tuple(fractions)


def _fraction(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise ValueError
    return number


_STEPS = Wanted(
    "the steps to look at",
    "fractions of the noise schedule, from 0 (all noise) to 1 (none), such as 0.2, 0.5, 0.8",
    _fraction,
)


def pick_images(images: Tensor, latent: Sequence[int], frame: int) -> Tensor:
    """The decoded picture of a frame, (height, width, channels).

    images: all decoded pictures, or this one alone, (1 or pictures, height, width, channels). latent: the shape
    (pictures, channels, height, width). Raises ValueError when the number or the shape of the images does not fit.
    """
    pictures, _, rows, columns = latent
    count, height, width, _ = images.shape
    if count not in (1, pictures):
        raise ValueError(
            f"Connect the images decoded from this latent; images: {count}, pictures in the latent: {pictures}."
        )
    if abs(columns * height - rows * width) >= max(height, width):  # they differ by more than a cell of the latent
        raise ValueError(
            f"Connect the image that was decoded from this latent; this one is {width}x{height} and "
            f"the latent {columns}x{rows}, which is another shape."
        )
    return images[frame if count > 1 else 0]
