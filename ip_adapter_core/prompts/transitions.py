"""Animations between reference images: which two of them a frame reads, and how strongly each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from ..settings.curves import Curve
from ..text.checks import check_choice
from ..text.number_lists import Wanted, numbers
from .prompt import ImagePrompt, PromptPart

EASINGS = ("linear", "ease in-out", "cosine", "ease in", "ease out")
"""Curve shapes that rise from one end to the other, the usual ones first."""


@dataclass(frozen=True)
class Transition:
    """An animation from image to image.

    frames: number of frames.
    keys: for each image the frame in which it acts alone, in rising order; empty spreads them evenly over the frames.
    shape: of the change from one image to the next, a row of EASINGS.
    hold: share of the time between two keys, 0..1, in which nothing changes, half of it at each end.
    loop: whether the last image changes back to the first.
    """

    frames: int
    keys: tuple[int, ...] = ()
    shape: str = EASINGS[0]
    hold: float = 0.0
    loop: bool = False

    def check(self, images: int) -> Transition:
        """This transition with a key for each of `images` images. Raises ValueError when it is not valid."""
        if images < 2:
            raise ValueError(
                f"Encode a batch of two or more images, combined one per frame, for a transition; found {images}."
            )
        if self.frames < images:
            raise ValueError(f"Set frames to {images} or more; found {images} images for {self.frames} frames.")
        check_choice("shape", self.shape, EASINGS)
        if not 0 <= self.hold <= 1:
            raise ValueError(f"Set hold to 0..1; found {self.hold:g}.")
        keys = self.keys or self._even_keys(images)
        if len(keys) != images:
            raise ValueError(f"Give one key frame for each image, or none; images: {images}, key frames: {len(keys)}.")
        if list(keys) != sorted(set(keys)) or keys[0] < 0 or keys[-1] >= self.frames:
            raise ValueError(
                f"Write key_frames so that they rise and lie in 0..{self.frames - 1}; found "
                f"{', '.join(map(str, keys))}."
            )
        return replace(self, keys=keys)

    def _even_keys(self, images: int) -> tuple[int, ...]:
        gaps, last = (images, self.frames) if self.loop else (images - 1, self.frames - 1)
        return tuple(round(number * last / gaps) for number in range(images))

    def shares(self) -> tuple[tuple[int, int, float], ...]:
        """For each frame the image before it, the image after it, and the progress from one to the other, 0..1."""
        return tuple(map(self._share, range(self.frames)))

    def _share(self, frame: int) -> tuple[int, int, float]:
        last = len(self.keys) - 1
        for number, (start, end) in enumerate(pairwise(self.keys)):
            if start <= frame < end:
                return number, number + 1, self._progress((frame - start) / (end - start))
        if not self.loop:
            return (0, 0, 0.0) if frame < self.keys[0] else (last, last, 0.0)
        around = self.keys[0] + self.frames
        since = frame if frame >= self.keys[-1] else frame + self.frames
        return last, 0, self._progress((since - self.keys[-1]) / (around - self.keys[-1]))

    def _progress(self, elapsed: float) -> float:
        moving = 1 - self.hold
        if moving <= 0:
            return float(elapsed >= 0.5)
        moved = min(max((elapsed - self.hold / 2) / moving, 0.0), 1.0)
        return Curve(self.shape, "percent", 0.0, 1.0).value(moved, 1)


def over_frames(prompt: ImagePrompt, transition: Transition) -> tuple[ImagePrompt, Transition]:
    """A prompt of images that were encoded one per frame as an animation; and the transition with its keys.

    Every frame reads two images, the one before it and the one after it, with weights that add up to 1. All frames
    share K' and V', so a frame needs no memory of its own, except for masks. Raises ValueError when the transition does
    not fit the prompt.
    """
    if len(prompt.parts) != 1:
        raise ValueError("Encode the images combined one per frame; these stand in several parts.")
    (part,) = prompt.parts
    checked = transition.check(part.frames)
    shares = checked.shares()
    leaving = _assign_images(part, [start for start, _, _ in shares], [1 - progress for _, _, progress in shares])
    coming = _assign_images(part, [end for _, end, _ in shares], [progress for _, _, progress in shares])
    return replace(prompt, parts=(leaving, coming)), checked


def _assign_images(part: PromptPart, images: Sequence[int], weights: Sequence[float]) -> PromptPart:
    """The part with an image number and a weight for each frame."""
    numbers = torch.tensor(images)
    own = part.weights if len(part.weights) > 1 else part.weights * part.frames
    return replace(
        part,
        row_index=part.row_index[:, numbers],
        weights=tuple(own[image] * weight for image, weight in zip(images, weights, strict=True)),
        masks=tuple(mask[numbers] if len(mask) > 1 else mask for mask in part.masks),
    )


_KEYS = Wanted("the key frames", "whole numbers such as 0, 8, 16", int)


def read_keys(text: str) -> tuple[int, ...]:
    """The frame numbers of a text such as `0, 8, 16`. Raises ValueError that quotes the wrong piece."""
    return numbers(text, _KEYS)
