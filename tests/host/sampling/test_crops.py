"""A mask belongs to the whole picture, whatever size it has at a step and whichever parts a model is called on."""

import logging
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from sampled import apply, cond, difference, noise, sample

pytestmark = [pytest.mark.usefixtures("comfy"), pytest.mark.filterwarnings("ignore:Should have tb")]


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The masks at the finest grid of every batch that was prepared, (rows, height, width)."""
    from comfyui_ip_adapter.nodes.host.sampling import prepared_layers

    seen: list[Tensor] = []
    original = prepared_layers.masks_of

    def recording(*given: Any) -> Any:
        found = original(*given)
        grid, finest = next(iter(found.items()))
        seen.append(finest.reshape(-1, *grid))
        return found

    monkeypatch.setattr(prepared_layers, "masks_of", recording)
    return seen


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, comfy: None) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged, each sentence as if for the first time."""
    from comfyui_ip_adapter.nodes.host.warn import warn_once

    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        yield caplog


def half(size: int = 64) -> Tensor:
    """A mask that is white on the left."""
    mask = torch.zeros(1, size, size)
    mask[..., : size // 2] = 1
    return mask


def custom(model: Any, function: Any, start: Tensor, steps: int = 4, **options: Any) -> Tensor:
    """A picture by a sampler function."""
    import comfy.samplers
    from comfy.sample import sample_custom

    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
    sampler = comfy.samplers.KSAMPLER(function, extra_options=options)
    empty = torch.zeros_like(start)
    return sample_custom(model, start, 4.0, sampler, sigmas, cond(1), cond(2), empty, disable_pbar=True, seed=1)


def in_three_sizes(model: Any, x: Tensor, sigmas: Tensor, extra_args: Any = None, **more: Any) -> Tensor:
    """As samplers of the SMEA kind do: the picture, every other cell of it, and it enlarged."""
    ones = x.new_ones([x.shape[0]])
    for now, then in pairwise(sigmas):
        denoised = model(x, now * ones, **extra_args)
        model(x[:, :, ::2, ::2], now * ones, **extra_args)
        model(interpolate(x, scale_factor=1.25, mode="nearest-exact"), now * ones, **extra_args)
        x = x + (x - denoised) / now * (then - now)
    return x


def test_a_mask_is_at_its_place_at_every_size_that_a_picture_has_within_a_run(
    model: Any, prompt: ImagePrompt, masks: list[Tensor], said: pytest.LogCaptureFixture
) -> None:
    from comfy_extras.nodes_advanced_samplers import sample_lcm_upscale

    prompted = apply(model, prompt, mask=half())
    custom(prompted, in_three_sizes, noise())
    custom(prompted, sample_lcm_upscale, noise(), total_upscale=2.0, upscale_steps=None, upscale_method="bilinear")
    sizes = {mask.shape[-2:] for mask in masks}
    assert {(4, 4), (8, 8), (10, 10), (16, 16)} <= sizes
    for mask in masks:
        expected = adaptive_avg_pool2d(half(), mask.shape[-2:])
        assert torch.equal(mask, expected.expand_as(mask))
    assert not said.records


def test_a_mask_at_twice_the_size_acts_in_the_same_place(model: Any, prompt: ImagePrompt) -> None:
    for given in (noise(), noise(1, 12, 20)):
        small, large = (sample(apply(model, prompt, mask=half(size)), given=given, steps=2) for size in (64, 128))
        assert torch.equal(small, large)


def test_a_crop_within_a_run_cannot_be_known_and_the_log_says_so(
    model: Any, prompt: ImagePrompt, said: pytest.LogCaptureFixture
) -> None:
    def cropping(model: Any, x: Tensor, sigmas: Tensor, extra_args: Any = None, **more: Any) -> Tensor:
        model(x[..., :3], sigmas[0] * x.new_ones([len(x)]), **extra_args)
        return x

    custom(apply(model, prompt, mask=half()), cropping, noise(), steps=1)
    assert sum("as if it were the whole picture" in record.message for record in said.records) == 1


def quadrants(
    model: Any, x: Tensor, sigmas: Tensor, extra_args: Any = None, whole_first: bool = True, **more: Any
) -> Tensor:
    """A sampler that calls its guider on quarters, of the proportion of the picture."""
    ones = x.new_ones([len(x)])
    if whole_first:
        model(x, sigmas[0] * ones, **extra_args)
    for part in (x[..., :4, :4], x[..., :4, 4:], x[..., 4:, :4], x[..., 4:, 4:]):
        model(part, sigmas[0] * ones, **extra_args)
    return x


def test_crops_that_a_guider_is_given_are_found_in_the_picture_it_was_given_before(
    model: Any, prompt: ImagePrompt, masks: list[Tensor], said: pytest.LogCaptureFixture
) -> None:
    custom(apply(model, prompt, mask=half()), quadrants, noise(), steps=1)
    found = [mask.unique().tolist() for mask in masks if mask.shape[-1] == 4]
    assert found == [[1.0], [0.0], [1.0], [0.0]]
    assert not said.records


def test_crops_of_a_picture_that_no_guider_was_given_are_told_of(
    model: Any, prompt: ImagePrompt, said: pytest.LogCaptureFixture
) -> None:
    custom(apply(model, prompt, mask=half()), quadrants, noise(), steps=1, whole_first=False)
    assert sum("as if it were the whole picture" in record.message for record in said.records) == 1


def test_areas_of_a_flat_picture_are_where_their_conds_say(
    model: Any, prompt: ImagePrompt, masks: list[Tensor], said: pytest.LogCaptureFixture
) -> None:
    """As in unsampling, where no number of noise tells places."""
    mask = torch.zeros(1, 64, 128)
    mask[..., 64:] = 1
    right = [[cond(1)[0][0], {"area": (8, 8, 0, 8), "strength": 1.0}]]
    sample(apply(model, prompt, mask=mask), cfg=1.0, positive=right, given=torch.ones(1, 4, 8, 16), steps=2)
    assert masks
    assert all(bool((each == 1).all()) for each in masks)
    assert not said.records


def test_a_part_that_may_be_in_several_places_is_in_none(comfy: None) -> None:
    from comfyui_ip_adapter.nodes.host.sampling.crops import corner_of

    whole = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert corner_of(whole, whole[:, 2:6, 3:7]) == (2, 3)
    assert corner_of(whole, whole.roll((-6, -5), (-2, -1))[:, :4, :4]) == (6, 5)  # around an edge
    twice = torch.cat([whole, whole], dim=-1)
    assert corner_of(twice, whole[:, 2:6, 3:7]) is None
    changed = whole[:, 2:6, 3:7].clone()
    changed[:, 1, 1] += 1
    assert corner_of(whole, changed) is None
    assert corner_of(torch.zeros(4, 8, 8), torch.zeros(4, 4, 4)) is None
    assert corner_of(torch.zeros(4, 32, 32), torch.zeros(4, 4, 4)) is None


def test_several_samplings_in_one_node_are_told_of_where_there_are_masks(
    model: Any, prompt: ImagePrompt, said: pytest.LogCaptureFixture
) -> None:
    """As detailers and upscalers in tiles do, each part in a run of its own."""
    from comfy_execution.utils import CurrentNodeContext

    plain, masked = apply(model, prompt), apply(model, prompt, mask=half())
    for node, models in (("1", [plain, plain, masked]), ("2", [masked]), ("3", [masked])):
        with CurrentNodeContext("prompt", node, 0):
            for each in models:
                sample(each, steps=1)
    assert not said.records
    with CurrentNodeContext("prompt", "4", 0):
        sample(masked.clone(), steps=1, given=noise(1, 8, 8))
        sample(masked.clone(), steps=1, given=noise(1, 8, 16))
    assert sum("samples more than once" in record.message for record in said.records) == 1


def areas(number: int) -> list[Any]:
    """The whole picture's text, and so many areas of it."""
    text = cond(1)[0][0]
    return [[text, {}]] + [
        [text, {"area": (8, 8, (place * 2) % 9, (place // 5) * 4), "strength": 1.0}] for place in range(number)
    ]


@pytest.mark.parametrize(("schedule", "each"), [(Schedule(), 1), (Schedule((Curve("linear"),)), 4)])
def test_keys_and_values_are_gathered_once_however_many_places_there_are(
    model: Any, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch, schedule: Schedule, each: int
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import prepared
    from comfyui_ip_adapter.nodes.host.sampling.prepared_layers import PreparedLayers

    counts = {"gathered": 0, "prepared": 0}

    def counting(name: str, original: Any) -> Any:
        def counted(*given: Any) -> Any:
            counts[name] += 1
            return original(*given)

        return counted

    monkeypatch.setattr(prepared, "_image", counting("gathered", prepared._image))
    monkeypatch.setattr(PreparedLayers, "_prepare", counting("prepared", PreparedLayers._prepare))
    monkeypatch.setattr(model.model, "memory_required", lambda *given, **more: 1e15)  # each cond by itself
    sample(apply(model, prompt, mask=half(), schedule=schedule), given=noise(1, 16, 16), positive=areas(6))
    assert counts == {"gathered": 2 * 6, "prepared": 2 * each}  # for cond and uncond, in six layers


def test_areas_with_masks_are_computed_one_by_one_as_together(
    model: Any, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompted, given = apply(model, prompt, mask=half()), noise(1, 16, 16)
    together = sample(prompted, given=given, positive=areas(5), steps=2)
    monkeypatch.setattr(model.model, "memory_required", lambda *given, **more: 1e15)
    assert difference(sample(prompted, given=given, positive=areas(5), steps=2), together) < 1e-5
