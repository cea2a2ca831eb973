"""What image prompts do, pixel by pixel: how much each reference adds to a layer, and its share of a softmax."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ..settings.masks import Grid
from ..text.number_lists import Wanted, numbers

MOST = 16  # tokens that are shown; the full kinds have 257

_LEAST = 1e-12  # lengths and weights below it count as this much: nothing is divided by zero


class MapKind(NamedTuple):
    """What can be seen of a prompt's parts: a row of SHOWS.

    marks: which tokens a map is of, (maps, tokens), from the numbers of tokens and of images. probe: what is attended
    to in place of V' (…, tokens, inner), for marks (tokens, 1). measure: the number of a pixel, from the attention to
    the probe and to the text, (…, pixels, inner) each. noun: what a map is of; words: what its numbers are. alone:
    whether it is of the first part only; top: the number that is white in a mask, None for the highest that occurs.
    """

    noun: str
    words: str
    token_groups: Callable[[int, int], Tensor]
    value_override: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[Tensor, Tensor], Tensor]
    alone: bool = False
    top: float | None = None


def _images(tokens: int, images: int) -> Tensor:
    return torch.eye(images).repeat_interleave(tokens // images, dim=1)


def _rivals(tokens: int, images: int) -> Tensor:
    """One image alone has nothing to share."""
    return _images(tokens, images) if images > 1 else torch.empty(0, tokens)


def _first_tokens(tokens: int, images: int) -> Tensor:
    return torch.eye(tokens)[: min(tokens // images, MOST)]


def _own_values(values: Tensor, marks: Tensor) -> Tensor:
    """Values of the marked tokens alone: what they add, under the softmax of all."""
    return values * marks


def _ones(values: Tensor, marks: Tensor) -> Tensor:
    """1 for the marked tokens: attention to them is their share of the softmax."""
    return marks.expand_as(values)


def relative_length(added: Tensor, text: Tensor) -> Tensor:
    """How long what is added is, as a multiple of the text's: (…, pixels, inner) each -> (…, pixels)."""
    return added.float().norm(dim=-1) / text.float().norm(dim=-1).clamp(min=_LEAST)


def _mean(added: Tensor, text: Tensor) -> Tensor:
    return added.float().mean(dim=-1)  # of the heads: within each, all numbers are alike


MAP_KINDS: dict[str, MapKind] = {
    "influence": MapKind("reference", "what it adds, relative to the text", _images, _own_values, relative_length),
    "share": MapKind("reference", "share of the attention to references", _rivals, _ones, _mean, top=1.0),
    "tokens": MapKind("token", "share of the attention to tokens", _first_tokens, _ones, _mean, alone=True),
}


class Window(NamedTuple):
    """Where in the picture something was seen: its upper left cell and its size in cells."""

    corner: Grid
    size: Grid


class MapAccumulator:
    """One map in the making, over a grid: the weighted mean of what layers and steps show, in float32.

    It is summed where it is seen, and brought home once: no layer waits for the device.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._sum, self._weight = torch.zeros(grid), torch.zeros(grid)

    def add(self, seen: Tensor, place: Window, weight: float) -> None:
        """Count what a layer shows, (height, width) on the layer's own grid, with this weight."""
        cells = interpolate(seen[None, None].float(), place.size, mode="bilinear")[0, 0]
        self._sum = self._sum.to(cells.device) + weight * self._placed(cells, place)
        self._weight += weight * self._placed(torch.ones(place.size), place)

    def _placed(self, cells: Tensor, place: Window) -> Tensor:
        """Cells on the grid, 0 around them; beyond an edge a picture goes on at the other."""
        below, beside = (whole - length for whole, length in zip(self._grid, place.size, strict=True))
        return pad(cells, (0, beside, 0, below)).roll(place.corner, (0, 1))

    @property
    def seen(self) -> bool:
        """Whether anything was counted."""
        return bool(self._weight.any())

    def mean(self) -> Tensor:
        """The map, (height, width), on the CPU; 0 where nothing was seen."""
        return self._sum.cpu() / self._weight.clamp(min=_LEAST)


SCALES = ("from zero", "lowest to highest")
"""What the darkest colour and 0 in a mask stand for: zero, or the lowest number there is."""


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps of a picture, (maps, height, width), by what each is of; what they show; a row of SCALES."""

    show: MapKind
    names: tuple[str, ...]
    found: Tensor
    scale: str = SCALES[0]

    @staticmethod
    def of(tallies: Mapping[str, MapAccumulator], show: MapKind, size: Grid, scale: str = SCALES[0]) -> Maps:
        """What tallies say, brought to a picture of this size."""
        means = torch.stack([tally.mean() for tally in tallies.values()])
        return Maps(show, tuple(tallies), interpolate(means[None], size, mode="bilinear")[0], scale)

    @property
    def ends(self) -> tuple[float, float]:
        """The numbers that are darkest and brightest: the same for all maps, so that they can be compared."""
        least, most = float(self.found.min()), float(self.found.max())
        if self.scale == SCALES[0]:
            least, most = 0.0, self.show.top or most
        return least, most if most > least else least + 1

    def masks(self) -> Tensor:
        """The maps as masks, 0..1."""
        least, most = self.ends
        return ((self.found - least) / (most - least)).clamp(0, 1)


def read_steps(text: str) -> tuple[float, ...]:
    """Fractions of the noise schedule from a text such as `0.2, 0.4`, rising and each once.

    0 is all noise, 1 none. Raises ValueError that quotes what cannot be read, and for an empty text.
    """
    found = sorted(set(numbers(text, _STEPS)))
    if not found:
        raise _STEPS.refused()
    return tuple(found)


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
    """The picture of a frame, (height, width, channels), of all that were decoded or of that one alone.

    latent: (pictures, channels, height, width). Raises ValueError where images are not as many, or of another shape.
    """
    pictures, _, rows, columns = latent
    count, height, width, _ = images.shape
    if count not in (1, pictures):
        raise ValueError(
            f"Images: {count}, pictures in the latent: {pictures}. Connect those decoded from this latent."
        )
    if abs(columns * height - rows * width) >= max(height, width):  # further apart than a cell of the latent picture
        raise ValueError(
            f"The image is {width}x{height} and the latent {columns}x{rows}, which is another shape. "
            "Connect the image that was decoded from this latent."
        )
    return images[frame if count > 1 else 0]
