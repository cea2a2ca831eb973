"""Noisy pictures to move away from, as IPAdapter Plus makes them: always 224 pixels, and no seed to choose."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch
import torchvision.transforms as v1
from torch import Tensor
from torchvision.transforms import v2

from ..text.checks import check_choice

SIDE = 224
_ALPHA, _SIGMA = 75.0, 3.5  # of the elastic distortion that shuffles a picture
_SEEDS = 1000000007

Disturb = Callable[[Tensor, float], Tensor]


def noise_picture(kind: str, strength: float, blur: int = 0, images: Tensor | None = None) -> Tensor:
    """Noise mixed with pictures, or with black, (images, 224, 224, 3), 0..1; the pictures themselves are the seed.

    kind: a row of KINDS. blur: pixels of the kernel. Raises ValueError for another kind.
    """
    check_choice("type", kind, KINDS)
    pictures = torch.zeros(1, SIDE, SIDE, 3) if images is None else _fit(images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(pictures.sum().item()) % _SEEDS)
        noise = KINDS[kind](pictures, strength).clamp(0, 1)
    return _blur(noise, blur)


def noisy_negative(images: Tensor, noise: float) -> Tensor:
    """The negative pictures that the number `noise` of the nodes before version 2 makes, of noise above 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shuffled = _shuffled(_fit(images), noise * _SIGMA, v1)
        return shuffled + (0.25 * (1 - noise) + 0.05) * torch.randn_like(shuffled)


def _fade(pictures: Tensor, strength: float) -> Tensor:
    return pictures.lerp(torch.rand_like(pictures), strength)


def _dissolve(pictures: Tensor, strength: float) -> Tensor:
    eaten = torch.rand_like(pictures) < strength
    return torch.where(eaten, torch.rand_like(pictures), pictures)


def _gaussian(pictures: Tensor, strength: float) -> Tensor:
    return pictures + torch.randn_like(pictures) * strength


def _shuffle(pictures: Tensor, strength: float) -> Tensor:
    shuffled = _shuffled(pictures, (1 - strength) * _SIGMA)
    noise = torch.randn_like(shuffled) * (strength * 0.75)
    return shuffled * (1 - noise) + noise


KINDS: dict[str, Disturb] = {"fade": _fade, "dissolve": _dissolve, "gaussian": _gaussian, "shuffle": _shuffle}


def _shuffled(pictures: Tensor, sigma: float, transforms: ModuleType = v2) -> Tensor:
    """Pictures distorted, upside down and mirrored; the flips draw random numbers too, though they are certain.

    transforms: torchvision's of the version that the pack used then; their distortions differ by rounding.
    """
    steps = (transforms.ElasticTransform(_ALPHA, sigma), transforms.RandomVerticalFlip(1.0))
    return _last(transforms.Compose([*steps, transforms.RandomHorizontalFlip(1.0)])(_first(pictures)))


def _fit(images: Tensor) -> Tensor:
    """The middle of pictures, 224 pixels of a side."""
    middle = v2.functional.center_crop(_first(images[..., :3].cpu().float()), [min(images.shape[1:3])] * 2)
    return _last(v2.functional.resize(middle, [SIDE, SIDE], v2.InterpolationMode.BICUBIC, antialias=True))


def _blur(pictures: Tensor, width: int) -> Tensor:
    if not width:
        return pictures
    return _last(v2.functional.gaussian_blur(_first(pictures), [width + (width + 1) % 2] * 2))


def _first(pictures: Tensor) -> Tensor:
    return pictures.permute(0, 3, 1, 2)


def _last(pictures: Tensor) -> Tensor:
    return pictures.permute(0, 2, 3, 1)
