"""Weights of frames as the old pack's weights nodes make them: two images fade into each other, over and over."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from ..text.number_lists import Wanted, numbers
from ..text.wording import listed

_WEIGHTS = Wanted("the weights", "numbers such as 1.0, 0.0", float)

_TIMINGS: dict[str, Callable[[float], float]] = {
    "linear": lambda share: share,
    "ease_in_out": lambda share: (1 - math.cos(share * math.pi)) / 2,
    "ease_in": lambda share: math.sin(share * math.pi / 2),
    "ease_out": lambda share: 1 - math.cos(share * math.pi / 2),
    "random": lambda share: random.random(),
    "reverse_in_out": lambda share: 1 - math.cos(share * math.pi / 2),  # retired; it was the same as ease_out
}
"""How the first weight becomes the last: share of the time, 0..1 -> share of the way. Others are lists as written."""


class Spread(NamedTuple):
    """Weights over frames and the images that they are for.

    weights: one for each frame.
    first, second: number of the image of each frame; empty where there are no images, or no second ones.
    """

    weights: list[float]
    first: list[int]
    second: list[int]


@dataclass(frozen=True)
class Strategy:
    """The settings of a weights node, with the old pack's names.

    weights: numbers as text. timing: a row of _TIMINGS, or another word for weights as they are written. frames: of one
    fade. start_frame, end_frame: between which of them the weight changes. add_starting_frames, add_ending_frames:
    frames before and after all fades. method: how images are dealt out. frame_count: number of images.
    """

    weights: str = "1.0, 0.0"
    timing: str = "linear"
    frames: int = 0
    start_frame: int = 0
    end_frame: int = 9999
    add_starting_frames: int = 0
    add_ending_frames: int = 0
    method: str = "full batch"
    frame_count: int = 0

    def as_dict(self) -> dict[str, Any]:
        """What a WEIGHTS_STRATEGY socket carries."""
        return asdict(self)

    def fade(self) -> list[float]:
        """The weights of one fade. Raises ValueError for a text that is no list of numbers."""
        written = list(numbers(self.weights, _WEIGHTS))
        if self.timing not in _TIMINGS:
            return written or [0.0]
        first, last = (written[0], written[-1]) if written else (0.0, 1.0)
        return self._timed(first, last)

    def spread(self, images: int | None = None) -> Spread:
        """The weights of all frames, for so many images; None without images."""
        fade = self.fade()
        if not images:
            return Spread(fade, [], [])
        weights, first, second = _deal(self.method)(fade, images)
        before, after = self.add_starting_frames, self.add_ending_frames
        return Spread(
            [weights[0]] * before + weights + [weights[-1]] * after if weights else [],
            [0] * before + first + [images - 1] * after,
            [0] * before + second + [images - 1] * after if second else [],
        )

    def _timed(self, first: float, last: float) -> list[float]:
        frames = max(self.frames, 2)
        end = min(self.end_frame, frames)
        weights = [first] * self.start_frame + self._changing(first, last, end - self.start_frame)
        if weights and self.timing != "random":
            weights[-1] = last  # of the frames before the change too, where none is left for the change itself
        return weights + [last] * (frames - end)

    def _changing(self, first: float, last: float, count: int) -> list[float]:
        shares = (frame / max(count - 1, 1) for frame in range(count))
        return [first + (last - first) * _TIMINGS[self.timing](share) for share in shares]


def read_strategy(value: Any) -> Strategy:
    """The settings that a WEIGHTS_STRATEGY socket carries. Raises ValueError for anything else."""
    given = value if isinstance(value, Mapping) else {}
    names = [field.name for field in fields(Strategy)]
    if missing := [name for name in names if name not in given]:
        found = f"{type(value).__name__} without {listed(missing)}"
        raise ValueError(f"Connect weights_strategy to IPAdapter Weights; found {found}.")
    return Strategy(**{name: given[name] for name in names})


def combine(*parts: list[float] | float) -> list[float]:
    """Weights one after another; a part is a list or one number."""
    return [weight for part in parts for weight in (part if isinstance(part, list) else [part])]


def prompt_schedule(strategy: Strategy, text: str) -> str:
    """A schedule of texts, one for each image, as FizzNodes reads it; text: one on each line."""
    lines = [line for line in text.split("\n") if line.strip()]
    count, before = strategy.frame_count, strategy.add_starting_frames
    if not lines or count <= 0:
        return ""
    texts = [lines[min(number, len(lines) - 1)] for number in range(count)]
    entries = [(number * strategy.frames + before, line) for number, line in enumerate(texts)]
    if before > 0:
        entries.insert(0, (0, texts[0]))
    if strategy.add_ending_frames > 0:
        entries.append((count * strategy.frames + before, texts[-1]))
    return "".join(f'"{frame}": "{line}",\n' for frame, line in entries)


Dealt = tuple[list[float], list[int], list[int]]


def _deal(method: str) -> Callable[[list[float], int], Dealt]:
    return next((deal for word, deal in _METHODS.items() if word in method), _full)


def _full(fade: list[float], images: int) -> Dealt:
    """Every image has a whole fade."""
    return fade * images, _each(range(images), len(fade)), []


def _shift(fade: list[float], images: int) -> Dealt:
    """Every image fades into the next."""
    return fade * (images - 1), _each(range(images - 1), len(fade)), _each(range(1, images), len(fade))


def _alternate(fade: list[float], images: int) -> Dealt:
    """Images of odd number are on one side and those of even number on the other, so that none of them jumps."""
    back = [max(fade) - (weight - min(fade)) for weight in fade]
    steps = images - 1
    weights = [weight for step in range(steps) for weight in (back if step % 2 else fade)]
    first = [2 * ((step + 1) // 2) for step in range(steps)]
    second = [2 * (step // 2) + 1 for step in range(steps)]
    return weights, _each(first, len(fade)), _each(second, len(fade))


def _each(images: Any, frames: int) -> list[int]:
    return [image for image in images for _ in range(frames)]


_METHODS: dict[str, Callable[[list[float], int], Dealt]] = {"shift": _shift, "alternate": _alternate}
"""By a word in the method; of all others each image has a whole fade."""
