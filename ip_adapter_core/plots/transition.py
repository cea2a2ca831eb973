"""A picture of a transition between reference images: how strongly each acts in every frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..prompts.transitions import Transition
from .axes import Axis, axis
from .drawing import SERIES
from .schedule import Plane, across, panel

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDTH = 6
_MARGIN = 0.035  # of the frames, on both sides: room for the numbers of images at the ends
_TOP = 1.1  # of the weights: room for the numbers above


def draw(transition: Transition) -> Image:
    """The weights of images over the frames of a checked transition, numbered at their key frames: an RGB picture.

    In a loop the first frame follows once more behind the last.
    """
    frames, images = range(transition.frames + transition.loop), range(len(transition.keys))
    heading = f"frames 0 to {transition.frames - 1}{', then 0' if transition.loop else ''}"

    def draw_on(plane: Plane) -> None:
        plane.grid(heading)
        plane.legend("weight of image", [(str(number + 1), colour(number)) for number in images], heading)
        for number, values in enumerate(_weights(transition)):
            round_again = (values * 2)[: len(frames)]
            plane.line(plane.pixels(frames, round_again), colour(number), _WIDTH)
        for number, key in enumerate(transition.keys):
            alone = [frame for frame in (key, key + transition.frames) if frame in frames]
            for pixel in plane.pixels(alone, [1.0] * len(alone)):
                plane.label(pixel, str(number + 1), colour(number))

    return panel(_across(frames[-1]), axis(0.0, 1.0)._replace(most=_TOP), draw_on)


def _across(last: int) -> Axis:
    """The axis of frames, wider than they are."""
    frames, margin = across(last, whole=True), _MARGIN * last
    return frames._replace(least=frames.least - margin, most=frames.most + margin)


def _weights(transition: Transition) -> list[list[float]]:
    """For each image its weight in every frame."""
    shares = transition.shares()
    return [
        [(1 - progress) * (start == number) + progress * (end == number) for start, end, progress in shares]
        for number in range(len(transition.keys))
    ]


def colour(number: int) -> str:
    """The colour of an image by its number, from 0."""
    return SERIES[number % len(SERIES)]
