"""Tests of noise.py and its node: what each kind of noise leaves of a picture, and repeats exactly."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.vision.noise import GREY, NOISE_KINDS, SIDE, gaussian_blur, grain, noisy

each_kind = pytest.mark.parametrize("kind", NOISE_KINDS)
STRENGTHS = (0.1, 0.5, 1.0)


def photos(count: int = 2, height: int = 40, width: int = 60) -> Tensor:
    """Smooth pictures, different ones, with every level from 0 to 1."""
    down, across = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None, :]
    one = torch.stack([down.expand(height, width), across.expand(height, width), (down + across) / 2], dim=-1)
    return torch.stack([one.roll(number, dims=-1) for number in range(count)])


def change(kind: str, strength: float, images: Tensor) -> float:
    return float((noisy(images, kind, strength) - images).abs().mean())


# What every kind has in common


@each_kind
def test_strength_zero_is_the_image_bit_for_bit(kind: str) -> None:
    assert torch.equal(noisy(photos(), kind, 0.0), photos())


@each_kind
@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("blur", [0, 7])
def test_the_result_is_a_picture_of_the_same_size_from_0_to_1(kind: str, strength: float, blur: int) -> None:
    found = noisy(photos(), kind, strength, blur)
    assert (found.shape, found.dtype) == (photos().shape, torch.float32)
    assert found.min() >= 0
    assert found.max() <= 1


@each_kind
def test_more_strength_changes_more(kind: str) -> None:
    changes = [change(kind, strength, photos()) for strength in (0.0, *STRENGTHS)]
    assert changes == sorted(set(changes))


@each_kind
def test_the_same_seed_repeats_bit_for_bit_and_another_differs(kind: str) -> None:
    first, again, other = (noisy(photos(), kind, 0.5, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@each_kind
def test_an_image_more_changes_no_other_and_has_noise_of_its_own(kind: str) -> None:
    same = photos(1).repeat(3, 1, 1, 1)
    found = noisy(same, kind, 0.5)
    assert torch.equal(noisy(same[:2], kind, 0.5), found[:2])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(noisy(same, kind, 0.5, seed=1)[0], found[1])


@each_kind
def test_no_random_state_outside_is_read_or_moved(kind: str) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first = noisy(photos(), kind, 0.5, blur=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]
    torch.rand(5)
    assert torch.equal(noisy(photos(), kind, 0.5, blur=2), first)


@each_kind
def test_the_given_images_stay_as_they_are(kind: str) -> None:
    given = photos()
    noisy(given, kind, 0.0).add_(1)
    noisy(given, kind, 1.0, blur=2)
    assert torch.equal(given, photos())


@each_kind
def test_alpha_is_left_out_and_grey_becomes_rgb(kind: str) -> None:
    alpha = torch.cat([photos(), torch.zeros(2, 40, 60, 1)], dim=-1)
    assert torch.equal(noisy(alpha, kind, 0.5), noisy(photos(), kind, 0.5))
    grey = photos()[..., :1]
    assert torch.equal(noisy(grey, kind, 0.0), grey.repeat(1, 1, 1, 3))


def test_half_precision_stays_so() -> None:
    found = noisy(photos().half(), "fade", 0.0)
    assert found.dtype == torch.float16
    assert torch.equal(found, photos().half())


@each_kind
def test_a_large_picture_looks_as_noisy_to_the_encoder_as_a_small_one(kind: str) -> None:
    small, large = (noisy(photos(1, side, side), kind, 0.5) for side in (SIDE, 4 * SIDE))
    seen = large.unflatten(1, (SIDE, 4)).unflatten(3, (SIDE, 4)).mean(dim=(2, 4))
    spreads = [float((image - photos(1, SIDE, SIDE)).std()) for image in (small, seen)]
    assert spreads[1] == pytest.approx(spreads[0], rel=0.1)


@pytest.mark.parametrize(
    ("size", "fine"), [((20, 900), 1.0), ((224, 224), 1.0), ((896, 448), 2.0), ((1024, 1536), 4.57)]
)
def test_noise_is_as_fine_as_what_an_encoder_reads(size: tuple[int, int], fine: float) -> None:
    assert grain(*size) == pytest.approx(fine, abs=0.01)
    found = noisy(torch.zeros(1, *size, 3), "fade", 1.0)[0, :, :, 0]
    assert len(found.unique()) == pytest.approx(round(size[0] / fine) * round(size[1] / fine), rel=0.02)


# What each kind is


def test_fade_ends_in_noise_alone_and_is_a_mixture_before() -> None:
    noise, half = noisy(photos(), "fade", 1.0), noisy(photos(), "fade", 0.5)
    assert torch.equal(noise, noisy(1 - photos(), "fade", 1.0))
    assert torch.allclose(half, (photos() + noise) / 2)
    assert noise.mean() == pytest.approx(0.5, abs=0.02)
    assert noise.std() == pytest.approx(1 / 12**0.5, abs=0.02)


@pytest.mark.parametrize("strength", STRENGTHS)
def test_dissolve_replaces_that_share_of_the_pixels_and_no_other(strength: float) -> None:
    changed = (noisy(photos(), "dissolve", strength) != photos()).any(dim=-1)
    assert changed.float().mean() == pytest.approx(strength, abs=0.03)


def test_gaussian_lies_around_the_picture() -> None:
    plain = torch.full((1, 100, 100, 3), 0.5)
    found = noisy(plain, "gaussian", 0.1)
    assert found.mean() == pytest.approx(0.5, abs=0.005)
    assert found.std() == pytest.approx(0.1, abs=0.005)


def test_shuffle_shows_no_colour_that_was_not_there() -> None:
    colours = {tuple(colour) for colour in photos(1).flatten(0, 2).tolist()}
    found = {tuple(colour) for colour in noisy(photos(1), "shuffle", 0.5).flatten(0, 2).tolist()}
    assert found <= colours
    assert len(found) > 100


def test_shuffle_moves_no_further_than_its_strength() -> None:
    down = photos(1)[0, :, 0, 0]
    found = noisy(photos(1), "shuffle", 0.2)[0, :, :, 0]
    moved = (found - down[:, None]).abs()
    assert 0.15 < moved.max() < 0.2 + 1 / 39


def test_at_full_strength_shuffle_leaves_the_colours_and_no_place() -> None:
    picture = photos(1, 100, 100)
    found = noisy(picture, "shuffle", 1.0)
    assert torch.allclose(found.mean(dim=(1, 2)), picture.mean(dim=(1, 2)), atol=0.02)
    halves = found[:, :50].mean() - found[:, 50:].mean()
    assert abs(halves) < 0.02


# Without images


@pytest.mark.parametrize("kind", [name for name, kind in NOISE_KINDS.items() if not kind.needs_picture])
def test_without_image_the_noise_is_on_plain_grey(kind: str) -> None:
    assert torch.equal(noisy(None, kind, 0.0), torch.full((1, SIDE, SIDE, 3), GREY))
    assert noisy(None, kind, 0.5).std() > 0.05


def test_shuffle_asks_for_an_image() -> None:
    with pytest.raises(ValueError, match="Connect an image, or choose another kind; shuffle moves the parts"):
        noisy(None, "shuffle", 0.5)


# Blur


def test_blur_leaves_a_plain_picture_and_calms_noise() -> None:
    plain = torch.full((2, 3, 30, 30), 0.3)
    assert torch.allclose(gaussian_blur(plain, 9), plain, atol=1e-6)
    spreads = [float(noisy(None, "fade", 1.0, blur).std()) for blur in (0, 2, 8, 32)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] < 0.05


def test_blur_reaches_as_far_as_its_radius_in_every_direction() -> None:
    point = torch.zeros(1, 1, 41, 41)
    point[..., 20, 20] = 1
    found = gaussian_blur(point, 6)[0, 0]
    rows, columns = torch.nonzero(found, as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (14, 26, 14, 26)
    assert found[20, 22] / found[20, 20] == pytest.approx(np.exp(-0.5))  # a third of the way is one deviation
    assert torch.allclose(found, found.T)
    assert torch.allclose(found, found.flip(0))
    assert found.sum() == pytest.approx(1, abs=1e-5)


def test_blur_may_be_larger_than_the_picture() -> None:
    assert noisy(photos(1, 5, 3), "fade", 1.0, 32).shape == (1, 5, 3, 3)


# What is refused


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (dict(kind="salt"), "Set kind to one of fade, dissolve, gaussian, shuffle; found 'salt'"),
        (dict(strength=1.5), r"Set strength to 0\.\.1; found 1\.5"),
        (dict(strength=-0.1), r"found -0\.1"),
        (dict(strength=float("nan")), "found nan"),
        (dict(blur=-1), r"Set blur to 0\.\.32; found -1"),
        (dict(images=torch.zeros(4, 4, 3)), "found 4x4x3"),
        (dict(images=torch.zeros(0, 4, 4, 3)), "found 0x4x4x3"),
        (dict(images=torch.full((1, 4, 4, 3), float("nan"))), "values that are no numbers"),
    ],
)
def test_what_cannot_be_meant_is_refused(wish: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        noisy(**{"images": photos(), "kind": "fade", "strength": 0.5} | wish)


def test_any_whole_number_is_a_seed() -> None:
    assert len({float(noisy(photos(1), "fade", 1.0, seed=seed).mean()) for seed in (-1, 0, 1, 2**64 - 2)}) == 4


# The node


@pytest.fixture
def node(comfy: None) -> Any:
    from comfyui_ip_adapter.nodes.noise import Noise

    return Noise


def test_the_node_makes_what_it_shows(node: Any) -> None:
    output = node.execute(kind="dissolve", strength=0.5, blur=1, seed=3, image=photos())
    (made,) = output.args
    assert torch.equal(made, noisy(photos(), "dissolve", 0.5, 1, 3))
    assert len(output.ui.as_dict()["images"]) == 2


def test_the_node_needs_no_image(node: Any) -> None:
    assert node.execute(kind="fade", strength=1.0, blur=0, seed=0).args[0].shape == (1, SIDE, SIDE, 3)


def test_the_node_offers_every_kind_and_keeps_its_seed(node: Any) -> None:
    inputs = {one.id: one for one in node.define_schema().inputs}
    assert list(inputs["kind"].options) == list(NOISE_KINDS)
    assert inputs["seed"].control_after_generate is False
    assert inputs["image"].optional
    assert all(one.tooltip for one in inputs.values())
