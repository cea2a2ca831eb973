"""Noisy pictures for use as negative images, from which an image prompt moves the result away."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from ..text.checks import check_choice

SIDE = 224  # pixels that most encoders read of a side
GREY = 0.5
BLUR = 32  # the largest radius

_Draw = Callable[..., Tensor]  # torch.rand or torch.randn


class Dice(NamedTuple):
    """Random numbers for one picture; they come from the CPU, so that every device gets the same.

    generator: the source of the numbers.
    size: height and width of the picture in pixels.

    The short side has at most SIDE numbers, each as large as a grain: the encoder's preprocessing shrinks the picture,
    and finer noise would disappear in averages.
    """

    generator: torch.Generator
    size: tuple[int, int]

    def uniform(self, channels: int) -> Tensor:
        """(channels, height, width), from 0 to 1, 1 excluded."""
        return self._spread(torch.rand, channels)

    def normal(self, channels: int) -> Tensor:
        """(channels, height, width), of mean 0 and variance 1."""
        return self._spread(torch.randn, channels)

    def _spread(self, draw: _Draw, channels: int) -> Tensor:
        grains = [round(side / grain(*self.size)) for side in self.size]
        drawn = draw(1, channels, *grains, generator=self.generator)
        return interpolate(drawn, self.size, mode="nearest-exact")[0]


class NoiseKind(NamedTuple):
    """A way to disturb a picture: a row of NOISE_KINDS.

    disturb: (picture, strength, dice) -> picture, (channels, height, width) each; strength 0 changes nothing.
    needs_picture: whether it does nothing useful to a plain grey picture.
    """

    disturb: Callable[[Tensor, float, Dice], Tensor]
    needs_picture: bool = False


def noisy(images: Tensor | None, kind: str, strength: float, blur: int = 0, seed: int = 0) -> Tensor:
    """Images disturbed by noise and then blurred; without images, a plain grey picture of SIDE pixels.

    images: (images, height, width, channels), 0..1, grey, RGB or RGBA (alpha is left out). kind: a row of NOISE_KINDS.
    strength: 0..1; 0 without blur gives the images themselves, bit for bit. blur: a radius in grains.
    Returns (images, height, width, 3), 0..1, of the same dtype and device. Each image has noise of its own, which
    depends on the seed, the image's number and its size alone.
    Raises ValueError for an unknown kind, for values out of range, for images of another shape, and without images for
    a kind that needs them.
    """
    _check(kind, strength, blur)
    if images is None:
        images = _plain(kind)
    pictures = rearrange(_rgb(images), "images height width channels -> images channels height width")
    height, width = pictures.shape[2:]
    dice = [Dice(_generator(seed, number), (height, width)) for number in range(len(pictures))]
    disturbed = [NOISE_KINDS[kind].disturb(picture, strength, own) for picture, own in zip(pictures, dice, strict=True)]
    soft = gaussian_blur(torch.stack(disturbed), round(blur * grain(height, width))).clamp(0, 1)
    return rearrange(soft, "images channels height width -> images height width channels").contiguous().to(images.dtype)


def gaussian_blur(pictures: Tensor, radius: int) -> Tensor:
    """A Gaussian blur that reaches `radius` pixels far, three standard deviations; the border is continued.

    pictures: (images, channels, height, width). Radius 0 changes nothing.
    """
    if radius == 0:
        return pictures
    steps = torch.arange(-radius, radius + 1, dtype=pictures.dtype, device=pictures.device)
    weights = (-0.5 * (3 * steps / radius) ** 2).exp()
    weights = weights / weights.sum()
    planes = rearrange(pictures, "n c h w -> (n c) 1 h w")
    down = conv2d(pad(planes, (0, 0, radius, radius), "replicate"), weights[None, None, :, None])
    across = conv2d(pad(down, (radius, radius, 0, 0), "replicate"), weights[None, None, None, :])
    return across.reshape(pictures.shape)


def grain(height: int, width: int) -> float:
    """Side of a square that an encoder sees as about one pixel, in pixels of the picture, at least 1."""
    return max(1.0, min(height, width) / SIDE)


def _fade(picture: Tensor, strength: float, dice: Dice) -> Tensor:
    """(1 - s)·x + s·u, with u uniform for each grain and channel: the picture fades out and noise fades in."""
    return picture.lerp(dice.uniform(len(picture)).to(picture), strength)


def _dissolve(picture: Tensor, strength: float, dice: Dice) -> Tensor:
    """u with probability s, else x, for each grain: noise eats the picture."""
    eaten = dice.uniform(1).to(picture) < strength
    return dice.uniform(len(picture)).to(picture).where(eaten, picture)


def _gaussian(picture: Tensor, strength: float, dice: Dice) -> Tensor:
    """x + s·n, with n normal for each grain and channel: film grain; the caller clamps the result."""
    return picture + strength * dice.normal(len(picture)).to(picture)


def _shuffle(picture: Tensor, strength: float, dice: Dice) -> Tensor:
    """x at p + s·side·(2u - 1), mirrored at the border: the colours without the shapes.

    At strength 1, every grain gets a uniformly random place, independent of p.
    """
    shifts = strength * (2 * dice.uniform(2) - 1)
    rows, columns = (
        _mirror(_centres(side, axis) + shift * side, side).to(picture.device)
        for axis, (side, shift) in enumerate(zip(picture.shape[1:], shifts, strict=True))
    )
    return picture[:, rows, columns]


NOISE_KINDS: dict[str, NoiseKind] = {
    "fade": NoiseKind(_fade),
    "dissolve": NoiseKind(_dissolve),
    "gaussian": NoiseKind(_gaussian),
    "shuffle": NoiseKind(_shuffle, needs_picture=True),
}


def _generator(seed: int, number: int) -> torch.Generator:
    """Random numbers for one image, different for every image and every seed."""
    mixed = np.random.SeedSequence((seed % 2**64, number)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]))


def _centres(side: int, axis: int) -> Tensor:
    """Where the pixels' centres are along a side, to be added to (height, width)."""
    return (torch.arange(side) + 0.5).reshape((-1, 1) if axis == 0 else (1, -1))


def _mirror(positions: Tensor, side: int) -> Tensor:
    """The pixels at positions along a side; positions beyond it are mirrored."""
    folded = positions.remainder(2 * side)
    return torch.minimum(folded, 2 * side - folded).long().clamp(max=side - 1)


def _plain(kind: str) -> Tensor:
    if NOISE_KINDS[kind].needs_picture:
        raise ValueError(f"Connect an image, or choose another kind; {kind} moves the parts of a picture.")
    return torch.full((1, SIDE, SIDE, 3), GREY)


def _rgb(images: Tensor) -> Tensor:
    """The colours of images, (images, height, width, 3), float32."""
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape:
        raise ValueError(
            "Connect images of shape (images, height, width, channels) with 1, 3 or 4 channels and "
            f"at least one pixel, as ComfyUI's IMAGE has it; found {'x'.join(map(str, images.shape))}."
        )
    if not torch.isfinite(images).all():
        raise ValueError("Look at the node that made the image; it contains values that are no numbers.")
    return images[..., :3].expand(-1, -1, -1, 3).float()


def _check(kind: str, strength: float, blur: int) -> None:
    check_choice("kind", kind, NOISE_KINDS)
    if not 0 <= strength <= 1:
        raise ValueError(f"Set strength to 0..1; found {strength:g}.")
    if not 0 <= blur <= BLUR:
        raise ValueError(f"Set blur to 0..{BLUR}; found {blur}.")
