"""The noisy pictures of the old pack, against its formulas with the same random numbers."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor
from torchvision.transforms import v2

from comfyui_ip_adapter.ip_adapter_core.compat.old_noise import KINDS, SIDE, noise_picture, noisy_negative
from drawn import draw

Formula = Callable[[Tensor, float], Tensor]

STRENGTHS = [0.0, 0.3, 1.0]


def pictures(height: int = 60, width: int = 90, count: int = 2) -> Tensor:
    return draw(count, height, width, 3).sigmoid()


def middle(images: Tensor) -> Tensor:
    """The middle squares of wide pictures, enlarged, (images, 3, 224, 224)."""
    height, width = images.shape[1:3]
    left = round((width - height) / 2)
    planes = images[:, :, left : left + height].permute(0, 3, 1, 2)
    return v2.functional.resize(planes, [SIDE, SIDE], v2.InterpolationMode.BICUBIC, antialias=True)


def last(planes: Tensor) -> Tensor:
    return planes.permute(0, 2, 3, 1)


def distorted(planes: Tensor, sigma: float) -> Tensor:
    """An elastic distortion, then turned by half a circle, with the random numbers of both certain flips drawn."""
    moved = v2.ElasticTransform(alpha=75.0, sigma=sigma)(planes)
    torch.rand(1), torch.rand(1)
    return moved.flip(2, 3)


def shuffle(images: Tensor, strength: float) -> Tensor:
    planes = last(distorted(images.permute(0, 3, 1, 2), (1 - strength) * 3.5))
    noise = torch.randn_like(planes) * strength * 0.75
    return planes + noise - planes * noise


def dissolve(images: Tensor, strength: float) -> Tensor:
    share, noise = torch.rand_like(images), torch.rand_like(images)
    return torch.where(share < strength, noise, images)


FORMULAS: dict[str, Formula] = {
    "fade": lambda images, strength: (1 - strength) * images + strength * torch.rand_like(images),
    "dissolve": dissolve,
    "gaussian": lambda images, strength: images + strength * torch.randn_like(images),
    "shuffle": shuffle,
}

each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("given", [False, True], ids=["alone", "on pictures"])
def test_each_kind_follows_its_formula_from_the_seed_of_its_pixels(kind: str, strength: float, given: bool) -> None:
    images = pictures() if given else None
    start = torch.zeros(1, SIDE, SIDE, 3) if images is None else last(middle(images))
    found = noise_picture(kind, strength, 0, images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(start.sum()))
        expected = FORMULAS[kind](start, strength).clamp(0, 1)
    assert found.shape == (1 if images is None else 2, SIDE, SIDE, 3)
    assert torch.allclose(found, expected, atol=1e-6)


@each_kind
def test_other_pictures_have_other_noise(kind: str) -> None:
    first, second = (noise_picture(kind, 1.0, 0, images) for images in (pictures(), 1 - pictures()))
    assert (first - second).abs().mean() > 0.01


@each_kind
def test_the_random_numbers_of_others_stay_as_they_are(kind: str) -> None:
    torch.manual_seed(5)
    noise_picture(kind, 0.5, 3, pictures())
    noisy_negative(pictures(), 0.5)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


@pytest.mark.parametrize(("blur", "width"), [(1, 1), (2, 3), (3, 3), (32, 33)])
def test_blur_is_the_next_odd_width_of_a_gaussian(blur: int, width: int) -> None:
    sharp = noise_picture("fade", 1.0)
    steps = torch.arange(width) - (width - 1) / 2
    weights = (-0.5 * (steps / (0.15 * width + 0.35)) ** 2).exp()
    kernel = (weights[:, None] * weights / weights.sum() ** 2).expand(3, 1, width, width)
    edge = width // 2
    planes = torch.nn.functional.pad(sharp.permute(0, 3, 1, 2), (edge,) * 4, "reflect")
    expected = last(torch.nn.functional.conv2d(planes, kernel, groups=3))
    assert torch.allclose(noise_picture("fade", 1.0, blur), expected, atol=1e-5)


@pytest.mark.parametrize("noise", [0.01, 0.5, 1.0])
def test_the_old_number_makes_a_shuffled_picture_with_less_grain_the_higher_it_is(noise: float) -> None:
    found = noisy_negative(pictures(), noise)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        moved = torchvision.transforms.ElasticTransform(alpha=75.0, sigma=noise * 3.5)(middle(pictures()))
        torch.rand(1), torch.rand(1)
        turned = last(moved.flip(2, 3))
        expected = turned + (0.3 - 0.25 * noise) * torch.randn_like(turned)
    assert found.shape == (2, SIDE, SIDE, 3)
    assert torch.allclose(found, expected, atol=1e-5)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Set type to one of fade, dissolve, gaussian, shuffle; found 'salt'"):
        noise_picture("salt", 1.0)
