"""A picture of a transition between reference images: how strongly each acts in every frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..prompts.transitions import Transition
from .axes import axis
from .schedule import Plane, across, panel

if TYPE_CHECKING:
    from PIL.Image import Image

_COLOURS = ("#1f5fa8", "#e0812b", "#3a9a5b", "#b0428f", "#c23b3b", "#6c6cc8", "#8a7a2f", "#2b9a9a")
_WIDTH = 6


def draw(transition: Transition) -> Image:
    """The weights of images over the frames of a checked transition, numbered at their key frames: an RGB picture."""
    frames = range(transition.frames)

    def draw_on(plane: Plane) -> None:
        plane.grid(f"weights of {len(transition.keys)} images, frames 0 to {transition.frames - 1}")
        weights = _weights(transition)
        for number, values in enumerate(weights):
            plane.line(plane.pixels(frames, values), colour(number), _WIDTH)
        for number, key in enumerate(transition.keys):
            (pixel,) = plane.pixels([key], [1.0])
            plane.label(pixel, str(number + 1), colour(number))

    return panel(across(transition.frames - 1, whole=True), axis(0.0, 1.0), draw_on)


def _weights(transition: Transition) -> list[list[float]]:
    """For each image its weight in every frame."""
    shares = transition.shares()
    return [
        [(1 - progress) * (start == number) + progress * (end == number) for start, end, progress in shares]
        for number in range(len(transition.keys))
    ]


def colour(number: int) -> str:
    """The colour of an image by its number, from 0."""
    return _COLOURS[number % len(_COLOURS)]
