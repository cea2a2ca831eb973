"""Image prompts in ComfyUI's own samplers, on every construction: sides, spans, schedules, frames, masks, stacking."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND, ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import custom
from constructions import Adapted, Encode
from parts import half, tiled, windowed
from sampled import STEPS, apply, cond, difference, for_model, noise, sample
from twins import Twins, patcher_of

pytestmark = pytest.mark.usefixtures("comfy")


@pytest.fixture(scope="module")
def model(twins: Twins) -> Any:
    return twins.patcher


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], int]]:
    """For every model call: the sides of its chunks, and how many layers were patched."""
    from comfyui_ip_adapter.nodes.host.sampling.run import Run

    seen: list[tuple[tuple[int, ...], int]] = []
    prepared = Run.prepare

    def recording(run: Run, batch: Any, *rest: Any, **more: Any) -> Any:
        found = prepared(run, batch, *rest, **more)
        seen.append((batch.order.groups, len(found)))
        return found

    monkeypatch.setattr(Run, "prepare", recording)
    return seen


def test_weight_zero_is_the_untouched_model_bit_for_bit(model: Any, prompts: list[ImagePrompt], bare: Tensor) -> None:
    assert torch.equal(sample(apply(model, prompts[0], 0.0)), bare)


def test_the_prompt_acts_and_repeats_bit_for_bit(
    model: Any, prompts: list[ImagePrompt], bare: Tensor, prompted: Tensor
) -> None:
    assert difference(prompted, bare) > 0.1
    assert torch.equal(sample(apply(model, prompts[0])), prompted)
    assert difference(prompted, sample(apply(model, prompts[1]))) > 0.1


def test_applying_leaves_the_given_model_as_it_was(
    model: Any, prompts: list[ImagePrompt], bare: Tensor, prompted: Tensor
) -> None:
    once = apply(model, prompts[0])
    sample(apply(once, prompts[1]))
    assert torch.equal(sample(once), prompted)
    assert torch.equal(sample(model), bare)
    assert not model.model_options["transformer_options"].get("wrappers")


def test_two_adapters_add_up_in_any_order(model: Any, prompts: list[ImagePrompt]) -> None:
    one, other = prompts
    both = sample(apply(apply(model, one, 0.7), other, 0.5))
    assert difference(both, sample(apply(apply(model, other, 0.5), one, 0.7))) < 1e-4
    assert difference(both, sample(apply(model, one, 0.7))) > 0.1
    assert difference(both, sample(apply(model, other, 0.5))) > 0.1


def test_the_same_prompt_twice_is_the_prompt_at_the_summed_weight(model: Any, prompts: list[ImagePrompt]) -> None:
    twice = sample(apply(apply(model, prompts[0], 0.3), prompts[0], 0.4))
    assert difference(twice, sample(apply(model, prompts[0], 0.7))) < 1e-4


def test_images_of_one_prompt_are_read_together_in_any_order(adapted: Adapted, model: Any, encode: Encode) -> None:
    alone, both = sample(apply(model, encode(5))), sample(apply(model, encode(5, 6)))
    assert difference(sample(apply(model, encode(6, 5))), both) < 1e-4
    assert difference(both, alone) > 1e-3
    assert (difference(sample(apply(model, encode(5, 5))), alone) < 1e-4) == adapted.reads_alone


def test_cond_and_uncond_rows_get_their_sides(
    twins: Twins, model: Any, prompts: list[ImagePrompt], calls: list[Any]
) -> None:
    sample(apply(model, prompts[0]))
    assert calls == [((UNCOND, COND), twins.construction.layers)] * STEPS


def test_guidance_one_needs_no_uncond_side(
    twins: Twins, model: Any, prompts: list[ImagePrompt], calls: list[Any]
) -> None:
    sample(apply(model, prompts[0]), cfg=1.0)
    assert calls == [((COND,), twins.construction.layers)] * STEPS


def test_split_batches_give_the_same_picture(
    model: Any, prompts: list[ImagePrompt], prompted: Tensor, calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_patcher

    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "get_free_memory", lambda *given: 1)
    assert difference(sample(apply(model, prompts[0])), prompted) < 1e-4
    assert [sides for sides, _ in calls] == [(UNCOND,), (COND,)] * STEPS


@pytest.mark.parametrize(("height", "width"), [(8, 16), (24, 8)])
def test_each_picture_of_a_batch_is_the_picture_it_would_be_alone(
    model: Any, prompts: list[ImagePrompt], height: int, width: int
) -> None:
    prompted = apply(model, prompts[0])
    start = noise(2, height, width)
    together = sample(prompted, given=start)
    for row in range(2):
        assert difference(together[row : row + 1], sample(prompted, given=start[row : row + 1])) < 1e-4


@pytest.mark.parametrize("windows", [lambda model: model, lambda model: windowed(model, 1)], ids=["whole", "windows"])
def test_each_frame_reads_its_own_image_at_its_own_weight(model: Any, encode: Encode, windows: Any) -> None:
    framed = encode(5, 6, how="one per frame", weights=(1.0, 0.4))
    falling, start = Schedule((Curve("linear", "frames", 1.0, 0.5),)), noise(2)
    together = sample(windows(apply(model, framed, schedule=falling)), given=start)
    for frame, weight in enumerate((1.0, 0.2)):
        alone = sample(apply(model, encode(5 + frame), weight), given=start[frame : frame + 1])
        assert difference(together[frame : frame + 1], alone) < 1e-4


# Masks


def test_a_full_mask_is_none_and_an_empty_one_leaves_the_model_bit_for_bit(
    model: Any, prompts: list[ImagePrompt], bare: Tensor, prompted: Tensor
) -> None:
    assert torch.equal(sample(apply(model, prompts[0], mask=torch.ones(1, 64, 64))), prompted)
    assert torch.equal(sample(apply(model, prompts[0], mask=torch.zeros(1, 64, 64))), bare)


def test_a_mask_acts_everywhere_in_its_place_and_nowhere_else(
    adapted: Adapted, model: Any, prompts: list[ImagePrompt]
) -> None:
    """What the last layer gives, where the prompt acts in it alone."""
    given, seen = noise(1, 12, 24), []
    masked = apply(model, prompts[0], mask=half("left", 96, 192), layer_weights=custom(f"{adapted.last} = 1"))
    with adapted.show(model.model.diffusion_model, seen):
        for used in (model, masked):
            sample(used, cfg=1.0, given=given, steps=1)
    acts = in_place(seen[1]) != in_place(seen[0])
    assert acts[:, : acts.shape[1] // 2].all()
    assert not acts[:, acts.shape[1] // 2 :].any()


def in_place(seen: Tensor) -> Tensor:
    """(height, width, channels) of one picture of 12 x 24, of which there are cells or tokens of 2 x 2."""
    return seen[0, -72:].unflatten(0, (6, 12)) if seen.ndim == 3 else seen.reshape(-1, 12, 24).permute(1, 2, 0)


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_mask_is_found_in_tiles(model: Any, prompts: list[ImagePrompt], at_once: int) -> None:
    start = noise(1, 8, 16)
    found = sample(tiled(apply(model, prompts[0], mask=half("left", 64, 128)), at_once), given=start)
    left, right = start.split(8, dim=-1)
    expected = [sample(apply(model, prompts[0]), given=left), sample(model, given=right)]
    assert difference(found, torch.cat(expected, dim=-1)) < 1e-4


# Guiders


def guide(guider: Any) -> Tensor:
    import comfy.samplers

    sigmas = comfy.samplers.calculate_sigmas(guider.model_patcher.get_model_object("model_sampling"), "normal", 2)
    start = for_model(guider.model_patcher, noise())
    sampler = comfy.samplers.sampler_object("euler")
    return guider.sample(start, torch.zeros_like(start), sampler, sigmas, disable_pbar=True, seed=1)


def test_a_guider_with_three_conds_gives_each_its_side(
    model: Any, prompts: list[ImagePrompt], calls: list[Any]
) -> None:
    from comfy_extras.nodes_custom_sampler import Guider_DualCFG

    guider = Guider_DualCFG(apply(model, prompts[0]))
    guider.set_conds(cond(1), cond(3), cond(2))
    guider.set_cfg(3.0, 2.0)
    guide(guider)
    # The conds stand as negative, middle, positive; the batch holds them last first.
    assert [sides for sides, _ in calls] == [(COND, COND, UNCOND)] * 2


def test_a_guider_with_an_empty_negative_gives_it_the_uncond_side(
    model: Any, prompts: list[ImagePrompt], calls: list[Any]
) -> None:
    from comfy_extras.nodes_perpneg import Guider_PerpNeg

    guider = Guider_PerpNeg(apply(model, prompts[0]))
    guider.set_conds(cond(1), cond(2), cond(3))
    guider.set_cfg(3.0, 1.0)
    guide(guider)
    assert [sorted(sides) for sides, _ in calls] == [[COND, UNCOND, UNCOND]] * 2


def test_conds_with_weight_hooks_keep_their_sides(
    model: Any, prompts: list[ImagePrompt], calls: list[Any], prompted: Tensor
) -> None:
    """A LoRA on the positive text alone is sampled in calls of its own."""
    import comfy.hooks

    name, weight = next(
        (name, weight) for name, weight in model.model.named_parameters() if weight.ndim == 2 and "attn" in name
    )
    hook = comfy.hooks.WeightHook(strength_model=1.0)
    hook.weights, hook.weights_clip, hook.need_weight_init = {name: (weight.roll(1, 0),)}, None, False
    hooks = comfy.hooks.HookGroup()
    hooks.add(hook)
    hooked = comfy.hooks.set_hooks_for_conditioning(cond(1), hooks)
    found = sample(apply(model, prompts[0]), positive=hooked)
    assert sorted(sides for sides, _ in calls) == [(COND,)] * STEPS + [(UNCOND,)] * STEPS
    assert difference(found, sample(model, positive=hooked)) > 0.1
    assert difference(found, prompted) > 1e-4


# Steps


@pytest.mark.parametrize(
    ("span", "steps"),
    [
        (Span(0, 0.5), [1, 1, 0, 0]),
        (Span(0.5, 1), [0, 0, 1, 1]),
        (Span(1, 3, "steps"), [0, 1, 1, 0]),
        (Span(0, 1, "steps"), [1, 0, 0, 0]),
        (Span(0, 4, "steps"), [1, 1, 1, 1]),
        (Span(2, 2, "steps"), [0, 0, 0, 0]),
    ],
)
def test_the_prompt_acts_in_the_steps_of_its_span(
    model: Any, prompts: list[ImagePrompt], calls: list[Any], span: Span, steps: list[int]
) -> None:
    sample(apply(model, prompts[0], 1.0, span))
    assert [int(layers > 0) for _, layers in calls] == steps


def test_a_span_without_steps_is_the_untouched_model_bit_for_bit(
    model: Any, prompts: list[ImagePrompt], bare: Tensor
) -> None:
    assert torch.equal(sample(apply(model, prompts[0], 1.0, Span(2, 2, "steps"))), bare)


def test_each_step_is_that_of_the_model_at_the_weight_of_this_step(model: Any, prompts: list[ImagePrompt]) -> None:
    late, falling = Span(0.25, 1), Schedule((Curve("linear", "steps", 1.0, 0.1),))
    found = sample(apply(model, prompts[0], 1.0, late, schedule=falling))
    expected = noise()
    for step, weight in enumerate((0.0, 0.7, 0.4, 0.1)):
        begin = {"start_step": step, "last_step": step + 1, "force_full_denoise": False}
        if step:
            begin |= {"given": torch.zeros_like(expected), "latent": expected, "disable_noise": True}
        expected = sample(apply(model, prompts[0], weight), **begin)
    assert difference(found, expected) < 1e-4


def test_spans_follow_a_partial_denoise(model: Any, prompts: list[ImagePrompt], calls: list[Any]) -> None:
    sample(apply(model, prompts[0], 1.0, Span(0, 2, "steps")), denoise=0.5, latent=noise(1) * 0.1)
    assert [int(layers > 0) for _, layers in calls] == [1, 1, 0, 0]


def test_samplers_of_second_order_act_in_whole_steps(model: Any, prompts: list[ImagePrompt], calls: list[Any]) -> None:
    sample(apply(model, prompts[0], 1.0, Span(0, 2, "steps")), sampler="dpm_2")
    assert [int(layers > 0) for _, layers in calls] == [1, 1, 1, 1, 0, 0, 0]


def test_a_later_change_of_the_noise_schedule_moves_percentages(model: Any, prompts: list[ImagePrompt]) -> None:
    from comfyui_ip_adapter.nodes.host.sampling.model_patch import installed_applications
    from comfyui_ip_adapter.nodes.host.sampling.run import Run

    class Sampling:
        @staticmethod
        def percent_to_sigma(percent: float) -> float:
            return 10.0 * (1 - percent)

        @staticmethod
        def timestep(sigma: Tensor) -> Tensor:
            return sigma * 100

    run = Run(
        installed_applications(apply(model, prompts[0], 1.0, Span(0.0, 0.5))),
        Sampling,
        torch.tensor([9.0, 6.0, 4.0, 0.0]),
        noise().shape,
    )
    x = noise()
    batch = run.batch({}, x, torch.float32)._replace(base=model.model)
    acts = [bool(run.prepare(batch, torch.tensor([sigma]), keep_all=False)) for sigma in (9.0, 6.0, 4.0)]
    assert acts == [True, True, False]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_prompt_follows_the_dtype_of_the_model(model: Any, prompts: list[ImagePrompt], dtype: torch.dtype) -> None:
    config = model.model.model_config
    cast = patcher_of(deepcopy(model.model, {id(config): config}))
    cast.model.manual_cast_dtype = dtype
    cast.model.diffusion_model.to(dtype)
    cast.model.diffusion_model.dtype = dtype
    found = sample(apply(cast, prompts[0]), cfg=1.0)
    exact = sample(apply(model, prompts[0]), cfg=1.0)
    assert torch.isfinite(found).all()
    assert difference(found, exact) < 0.5 * difference(exact, sample(model, cfg=1.0))
