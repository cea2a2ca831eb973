"""Creative control in ComfyUI's own samplers: masks, schedules, layer weights, several images, frames and windows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.attention import grouped
from comfyui_ip_adapter.ip_adapter_core.layers.layout import layers
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND, ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.prompts.transitions import Transition, over_frames
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import SamplingStep, Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from constructions import EMBED
from fabricate import adapters
from parts import evolved, half, tiled, windowed
from sampled import STEPS, apply, cond, difference, make_prompt, noise, sample
from twins import Twins

pytestmark = [pytest.mark.usefixtures("comfy"), pytest.mark.filterwarnings("ignore:Should have tb")]

Encoder = Callable[..., ImagePrompt]
RISING = Schedule((Curve("linear", "steps", 0.25, 1.0),))


@pytest.fixture(scope="module")
def model(sd15: Twins) -> Any:
    return sd15.patcher


@pytest.fixture(scope="module")
def encode(sd15: Twins, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """Prompts of one adapter: of images by their seeds, gathered in some way."""
    widths = tuple(layer.width for layer in layers(sd15.patcher.model.model_config.unet_config))
    folder = tmp_path_factory.mktemp("adapters")
    nested = adapters.adapter("base", widths, sd15.context, EMBED, 3, tokens=4)
    network = load(adapters.save(folder / "control.safetensors", nested))

    def encoded(*seeds: int, how: str = "concat", **gathered: Any) -> ImagePrompt:
        images = [torch.randn(EMBED, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return image_prompt(network, (torch.stack(images),), (torch.zeros(1, EMBED),), Gathering(how, **gathered))

    return encoded


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[Any, ...], tuple[int, int], Tensor]]:
    """What image prompts added: address and grid of the layer, and the tensor (batch, pixels, inner)."""
    from comfyui_ip_adapter.nodes.host.sampling import layer_patch, prepared_layers

    seen: list[tuple[tuple[Any, ...], tuple[int, int], Tensor]] = []
    original = layer_patch.image_result

    def recording(q: Tensor, image: Any, options: Any, text: Tensor | None = None) -> Tensor:
        found = original(q, image, options, text)
        address, shape = (*options["block"], options["block_index"]), options["activations_shape"]
        seen.append((address, (shape[-2], shape[-1]), found))
        return found

    monkeypatch.setattr(layer_patch, "image_result", recording)
    monkeypatch.setattr(prepared_layers, "group_images", lambda images, heads: tuple(images))  # each by itself
    return seen


@pytest.fixture
def strengths(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, tuple[float, ...]]]:
    """For every model call: the noise level and the strengths at it."""
    from comfyui_ip_adapter.nodes.host.sampling.run import Run

    seen: list[tuple[float, tuple[float, ...]]] = []
    original = Run.strengths

    def recording(run: Run, sigma: Tensor) -> tuple[float, ...]:
        found = original(run, sigma)
        seen.append((float(sigma.flatten()[0]), found))
        return found

    monkeypatch.setattr(Run, "strengths", recording)
    return seen


# Masks


@pytest.mark.parametrize("shape", [(1, 64, 64), (1, 7, 3), (3, 64, 64)])
def test_a_white_mask_is_no_mask_and_a_black_one_no_prompt_bit_for_bit(
    model: Any, encode: Encoder, shape: tuple[int, ...]
) -> None:
    prompt = encode(1)
    assert torch.equal(sample(apply(model, prompt, mask=torch.ones(shape))), sample(apply(model, prompt)))
    assert torch.equal(sample(apply(model, prompt, mask=torch.zeros(shape))), sample(model))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 16), (12, 20), (9, 11)])
@pytest.mark.parametrize("size", [(64, 64), (50, 70), (4, 4)])
def test_a_mask_acts_where_it_is_white_in_every_layer(
    model: Any, encode: Encoder, added: list[Any], height: int, width: int, size: tuple[int, int]
) -> None:
    sample(apply(model, encode(1), mask=half("left", *size)), given=noise(1, height, width), steps=1)
    assert len(added) == 16
    for address, (rows, columns), found in added:
        acts = found.abs().amax(-1).reshape(-1, rows, columns) > 0
        middle = columns / 2
        for column in range(columns):
            if column + 1 <= middle - 1:
                assert acts[..., column].all(), address
            if column >= middle + 1:
                assert not acts[..., column].any(), address


def test_two_masks_on_one_prompt_are_two_applications(model: Any, encode: Encoder) -> None:
    masks = torch.cat([half("left"), half("top")])
    together = sample(apply(model, encode(1, 2, masks=masks), 0.8))
    apart = sample(apply(apply(model, encode(2), 0.8, mask=masks[1:]), encode(1), 0.8, mask=masks[:1]))
    assert difference(together, apart) < 1e-5
    assert difference(together, sample(apply(model, encode(1, 2), 0.8))) > 0.05


def test_a_mask_follows_an_area_of_the_picture(model: Any, encode: Encoder, added: list[Any]) -> None:
    area = [[cond(1)[0][0], {"area": (8, 8, 0, 8), "strength": 1.0}]]  # the right half of a wide picture
    prompted = apply(model, encode(1), mask=half("left", 64, 128))
    sample(prompted, cfg=1.0, positive=area, given=noise(1, 8, 16), steps=2)
    assert added
    assert all(not found.any() for _, _, found in added)
    added.clear()
    sample(apply(model, encode(1), mask=half("right", 64, 128)), cfg=1.0, positive=area, given=noise(1, 8, 16), steps=2)
    assert all((found.abs().amax(-1) > 0).all() for _, _, found in added)


def test_masks_and_sides_follow_the_tiles_of_a_tiled_sampler(model: Any, encode: Encoder) -> None:
    wide, sides = noise(2, 8, 16), [noise(2, 8, 16)[..., :8], noise(2, 8, 16)[..., 8:]]
    expected = torch.cat([sample(apply(model, encode(1)), given=sides[0]), sample(model, given=sides[1])], dim=-1)
    for at_once in (1, 2):
        prompted = tiled(apply(model, encode(1), mask=half("left", 64, 128)), at_once)
        found = sample(prompted, given=wide)
        assert difference(found, expected) < 1e-4, at_once


# Schedules


@pytest.mark.parametrize("denoise", [1.0, 0.5])
@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "heun", "dpmpp_2m_sde"])
@pytest.mark.parametrize("unit", ["steps", "percent"])
def test_the_strength_at_each_step_is_that_of_the_curve(
    model: Any, encode: Encoder, strengths: list[Any], unit: str, sampler: str, denoise: float
) -> None:
    import comfy.samplers

    steps, schedule = 6, Schedule((Curve("ease in-out", unit, 0.2, 0.9),))
    sample(apply(model, encode(1), schedule=schedule), sampler=sampler, steps=steps, denoise=denoise, cfg=1.0)
    sigmas = comfy.samplers.KSampler(
        model, steps, torch.device("cpu"), sampler, "normal", denoise, model_options=model.model_options
    ).sigmas.tolist()
    percent_to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    seen: set[int] = set()
    for level, (found,) in strengths:
        step = min(range(steps), key=lambda index: abs(sigmas[index] - level))
        if abs(sigmas[step] - level) > 1e-4 * level:
            continue  # between two steps: the one that began holds
        percent = min((p / 10000 for p in range(1, 10000)), key=lambda p: abs(percent_to_sigma(p) - level))
        assert found == pytest.approx(schedule.strength(SamplingStep(percent, step, steps)), abs=2e-3)
        seen.add(step)
    assert seen == set(range(steps))


def test_a_constant_schedule_is_a_weight(model: Any, encode: Encoder) -> None:
    scheduled = sample(apply(model, encode(1), 0.8, schedule=Schedule((Curve("constant", "steps", 0.5),))))
    assert difference(scheduled, sample(apply(model, encode(1), 0.4))) < 1e-5


def test_a_schedule_of_first_steps_is_a_span(model: Any, encode: Encoder) -> None:
    scheduled = sample(apply(model, encode(1), schedule=Schedule((Curve("first n", "steps", n=2),))))
    assert torch.equal(scheduled, sample(apply(model, encode(1), 1.0, Span(0, 2, "steps"))))


def test_schedules_of_two_prompts_do_not_mix(model: Any, encode: Encoder, strengths: list[Any]) -> None:
    sample(apply(apply(model, encode(1), schedule=RISING), encode(2)), cfg=1.0)
    assert [found for _, found in strengths] == [(pytest.approx(0.25 + 0.25 * step), 1.0) for step in range(STEPS)]


# Layers


def test_only_the_layers_of_a_weight_type_are_patched(model: Any, encode: Encoder, added: list[Any]) -> None:
    sample(apply(model, encode(1), layer_weights=from_weight_type("composition")), steps=1)
    assert [address for address, *_ in added] == [("input", 7, 0), ("input", 8, 0)]


def test_layer_weights_scale_what_a_layer_adds(model: Any, encode: Encoder, added: list[Any]) -> None:
    sample(apply(model, encode(1), 0.8, layer_weights=from_weight_type("ease in")), steps=1)
    eased = {address: found for address, _, found in added}
    added.clear()
    sample(apply(model, encode(1), 0.8), steps=1)
    plain = {address: found for address, _, found in added}
    first = ("input", 1, 0)  # later layers see what earlier ones changed
    torch.testing.assert_close(eased[first], plain[first], atol=1e-6, rtol=0)
    assert list(eased) == list(plain)


def test_swapped_layers_push_away_on_the_negative_side_only(model: Any, encode: Encoder, added: list[Any]) -> None:
    sample(apply(model, encode(1), layer_weights=from_weight_type("style transfer precise")), steps=1)
    by_layer = {address: found for address, _, found in added}
    negative, positive = by_layer["input", 8, 0]  # the uncond row comes first
    assert not positive.any()
    assert negative.any()
    assert all(rows.any() for rows in by_layer["input", 1, 0])


def test_what_is_swapped_reads_the_tokens_of_the_positive_side(
    model: Any, encode: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import prepared_layers
    from comfyui_ip_adapter.nodes.host.sampling.model_patch import installed_applications
    from comfyui_ip_adapter.nodes.host.sampling.run import Run

    monkeypatch.setattr(prepared_layers, "group_images", lambda images, heads: tuple(images))
    used = apply(model, encode(1), layer_weights=from_weight_type("style transfer precise"))
    (application,) = installed_applications(used)
    run = Run((application,), model.get_model_object("model_sampling"), torch.tensor([9.0, 0.0]), noise().shape)
    batch = run.batch({"cond_or_uncond": [1, 0]}, torch.cat([noise()] * 2), torch.float32)
    prepared = run.prepare(batch, torch.tensor([9.0]), keep_all=False)
    (pair,) = (terms[0].kv for layer, terms in application.layers.items() if layer.address == ("input", 8, 0))
    (image,) = prepared["input", 8, 0]
    negative, positive = image.kv.values
    assert torch.equal(negative, pair.values[application.part.row_index[COND, 0]])
    assert not positive.any()


def test_a_part_of_a_picture_is_found_by_more_than_its_first_cell() -> None:
    from comfyui_ip_adapter.nodes.host.sampling.crops import corner_of

    whole = noise(1, 8, 8)[0]
    whole[:, 0, 0] = whole[:, 3, 4]  # the same noise twice
    assert corner_of(whole, whole[:, 3:7, 4:8]) == (3, 4)
    assert corner_of(whole, whole[:, 3:7, 4:8] + 1) is None


# Several images


def test_a_result_that_somebody_else_keeps_is_left_as_it_is(model: Any, encode: Encoder) -> None:
    """As packs do that exchange attention to skip some of it."""
    given = []

    def keeping(usual: Any, *args: Any, **more: Any) -> Tensor:
        found = usual(*args, **more)
        given.append((found, found.clone()))
        return found

    used = apply(apply(model, encode(1), 0.7), encode(2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3), 0.7)
    expected = sample(used)
    exchanged = used.clone()
    exchanged.model_options["transformer_options"]["optimized_attention_override"] = keeping
    assert torch.equal(sample(exchanged), expected)
    assert len(given) > 16 * STEPS
    assert all(torch.equal(found, before) for found, before in given)


@pytest.mark.parametrize("count", [1, 3])
def test_the_form_for_gpus_gives_what_that_for_processors_gives(
    model: Any, encode: Encoder, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """One image by itself, several in one attention."""
    from comfyui_ip_adapter.nodes.host.sampling import prepared_layers

    used = apply(model, encode(1), 0.7, mask=half("left"), schedule=RISING)
    for seed in range(1, count):
        used = apply(used, encode(seed, 5, weights=(2.0, 1.0)), 0.4)
    expected, kinds, original = sample(used), set(), prepared_layers.group_images

    def seen(*given: Any) -> Any:
        found = original(*given)
        kinds.update(one.form if isinstance(one, grouped.GroupedKV) else "alone" for one in found)
        return found

    monkeypatch.setattr(prepared_layers, "group_images", seen)
    monkeypatch.setitem(grouped.FORM_OF, "cpu", grouped.FORM_OF["cuda"])
    assert difference(sample(used), expected) < 1e-5
    assert kinds == ({"alone"} if count == 1 else {"alone", "attention"})
    assert difference(sample(model), expected) > 1e-3


def test_weight_zero_leaves_an_image_out(model: Any, encode: Encoder) -> None:
    alone = sample(apply(model, encode(1)))
    for how in ("concat", "separate", "average", "add", "norm average"):
        found = sample(apply(model, encode(1, 2, how=how, weights=(1.0, 0.0))))
        assert difference(found, alone) < 1e-4, how


def test_separate_images_are_applications_one_after_the_other(model: Any, encode: Encoder) -> None:
    together = sample(apply(model, encode(1, 2, how="separate", weights=(0.7, 0.4))))
    assert difference(together, sample(apply(apply(model, encode(2), 0.4), encode(1), 0.7))) < 1e-5


def test_under_one_softmax_a_weight_of_two_is_the_image_twice(model: Any, encode: Encoder) -> None:
    weighed = sample(apply(model, encode(1, 2, weights=(2.0, 1.0))))
    assert difference(weighed, sample(apply(model, encode(1, 1, 2)))) < 1e-4
    assert difference(weighed, sample(apply(model, encode(1, 2)))) > 1e-3


# Frames


def frame(index: int, frames: int = 3) -> Tensor:
    """The noise of one picture of a batch, alone."""
    return noise(frames)[index : index + 1]


def test_each_frame_follows_its_own_reference(model: Any, encode: Encoder) -> None:
    found = sample(apply(model, encode(1, 2, 3, how="one per frame")), given=noise(3))
    for index in range(3):
        alone = sample(apply(model, encode(index + 1)), given=frame(index))
        assert difference(found[index : index + 1], alone) < 1e-4, index


def test_the_last_reference_holds_for_further_frames(model: Any, encode: Encoder) -> None:
    found = sample(apply(model, encode(1, 2, how="one per frame")), given=noise(3))
    assert difference(found[2:], sample(apply(model, encode(2)), given=frame(2))) < 1e-4


def test_frames_have_weights_and_masks_of_their_own(model: Any, encode: Encoder) -> None:
    schedule, masks = Schedule((Curve("linear", "frames", 1.0, 0.0),)), torch.cat([half("left"), half("right")])
    weighed = sample(apply(model, encode(1), schedule=schedule), given=noise(3))
    masked = sample(apply(model, encode(1), mask=masks), given=noise(3))
    for index, (weight, mask) in enumerate(zip((1.0, 0.5, 0.0), (0, 1, 1), strict=True)):
        one = sample(apply(model, encode(1), weight), given=frame(index))
        assert difference(weighed[index : index + 1], one) < 1e-4, index
        one = sample(apply(model, encode(1), mask=masks[mask : mask + 1]), given=frame(index))
        assert difference(masked[index : index + 1], one) < 1e-4, index


def test_a_transition_begins_and_ends_with_its_images(model: Any, encode: Encoder) -> None:
    prompt, _ = over_frames(encode(1, 2, how="one per frame"), Transition(3))
    found = sample(apply(model, prompt), given=noise(3))
    assert difference(found[:1], sample(apply(model, encode(1)), given=frame(0))) < 1e-4
    assert difference(found[2:], sample(apply(model, encode(2)), given=frame(2))) < 1e-4
    between = sample(apply(apply(model, encode(1), 0.5), encode(2), 0.5), given=frame(1))
    assert difference(found[1:2], between) < 1e-4


def test_cores_context_windows_keep_every_frame_its_reference(model: Any, encode: Encoder) -> None:
    prompted = apply(model, encode(1, 2, 3, 4, how="one per frame"), mask=torch.cat([half("left"), half("right")]))
    found = sample(windowed(prompted, 2), given=noise(4))
    assert difference(found, sample(prompted, given=noise(4))) < 1e-4


def test_animatediffs_context_windows_keep_every_frame_its_reference(model: Any, encode: Encoder) -> None:
    prompted = apply(model, encode(1, 2, 3, 4, 5, how="one per frame"))
    assert difference(sample(evolved(prompted, 2), given=noise(5)), sample(prompted, given=noise(5))) < 1e-4


def test_a_run_keeps_few_windows_at_a_time(model: Any, encode: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.nodes.host.sampling import run

    runs: list[Any] = []
    learn = run.Run.observe_step

    def recording(one: Any, *given: Any) -> None:
        learn(one, *given)
        runs.append(one)

    monkeypatch.setattr(run.Run, "observe_step", recording)
    prompted = apply(model, encode(*range(12), how="one per frame"), schedule=RISING)
    sample(windowed(prompted, 1), given=noise(12), steps=2)
    tables = [table for one in runs for table in (one.layers._prompts, one.layers._unmasked)]
    kept = [values for table in tables for values in table._by_device.values()]
    assert max(map(len, kept)) == 2


def test_sides_stay_apart_where_frames_differ(model: Any, encode: Encoder) -> None:
    prompt = encode(1, 2, how="one per frame")
    (part,) = prompt.parts
    assert not torch.equal(part.side(COND)[0], part.side(COND)[1])
    assert torch.equal(part.side(UNCOND)[0], part.side(UNCOND)[1])
    joined = sample(apply(model, prompt), given=noise(2))
    apart = [sample(apply(model, encode(seed)), given=frame(seed - 1, 2)) for seed in (1, 2)]
    assert difference(joined, torch.cat(apart)) < 1e-4


def test_another_adapter_beside_frames_is_read_by_all_of_them(
    model: Any, sd15: Twins, encode: Encoder, tmp_path: Path
) -> None:
    other = make_prompt(sd15, tmp_path, 9)
    both = sample(apply(apply(model, encode(1, 2, how="one per frame")), other, 0.5), given=noise(2))
    alone = sample(apply(apply(model, encode(2)), other, 0.5), given=frame(1, 2))
    assert difference(both[1:], alone) < 1e-4
