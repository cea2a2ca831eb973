"""Image prompts in ComfyUI's own samplers: sides, spans, stacking, foreign patches, guiders."""

from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND, ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from sampled import STEPS, apply, cond, difference, for_model, halved, make_prompt, noise, sample
from twins import Twins

pytestmark = pytest.mark.usefixtures("comfy")


@pytest.fixture(scope="module", params=["sd15", "flux", "sd3", "anima"])
def twins(request: pytest.FixtureRequest) -> Twins:
    """A model of each construction; what only UNets have is tested on the first."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def model(twins: Twins) -> Any:
    return twins.patcher


@pytest.fixture(scope="module")
def prompts(twins: Twins, tmp_path_factory: pytest.TempPathFactory) -> list[ImagePrompt]:
    """Two prompts of two adapters."""
    return [make_prompt(twins, tmp_path_factory.mktemp("adapters"), seed) for seed in (1, 2)]


of_unets = pytest.mark.parametrize("twins", ["sd15"], indirect=True)


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


def test_weight_zero_is_the_untouched_model_bit_for_bit(model: Any, prompts: list[ImagePrompt]) -> None:
    assert torch.equal(sample(apply(model, prompts[0], 0.0)), sample(model))


def test_the_prompt_acts_and_repeats_bit_for_bit(model: Any, prompts: list[ImagePrompt]) -> None:
    prompted = apply(model, prompts[0])
    assert difference(sample(prompted), sample(model)) > 0.1
    assert torch.equal(sample(prompted), sample(prompted))
    assert difference(sample(prompted), sample(apply(model, prompts[1]))) > 0.1


def test_applying_leaves_the_given_model_as_it_was(model: Any, prompts: list[ImagePrompt]) -> None:
    before = sample(model)
    once = apply(model, prompts[0])
    first = sample(once)
    apply(once, prompts[1])
    apply(model, prompts[0])
    assert torch.equal(sample(once), first)
    assert torch.equal(sample(model), before)
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


@of_unets
@pytest.mark.parametrize("address", [("middle", 0, 0), ("middle", 0)])
def test_foreign_patches_keep_their_effect_in_any_order(
    model: Any, prompts: list[ImagePrompt], address: tuple[Any, ...]
) -> None:
    ours_last = sample(apply(halved(model, *address), prompts[0]))
    ours_first = sample(halved(apply(model, prompts[0]), *address))
    assert torch.equal(ours_last, ours_first)
    assert difference(ours_last, sample(apply(model, prompts[0]))) > 1e-4
    assert difference(ours_last, sample(halved(model, *address))) > 0.1


@of_unets
def test_what_a_foreign_patch_gives_is_left_as_it_is(model: Any, prompts: list[ImagePrompt]) -> None:
    from comfy.ldm.modules.attention import optimized_attention

    given: list[tuple[Tensor, Tensor]] = []

    def foreign(q: Tensor, k: Tensor, v: Tensor, extra: Any) -> Tensor:
        found = optimized_attention(q, k, v, extra["n_heads"])
        given.append((found, found.clone()))
        return found

    patched = model.clone()
    patched.set_model_attn2_replace(foreign, "middle", 0)
    sample(apply(patched, prompts[0]))
    assert given
    assert all(torch.equal(*pair) for pair in given)


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
    model: Any, prompts: list[ImagePrompt], calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import comfy.model_patcher

    prompted = apply(model, prompts[0])
    joined = sample(prompted)
    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "get_free_memory", lambda *given: 1)
    calls.clear()
    assert difference(sample(prompted), joined) < 1e-4
    assert [sides for sides, _ in calls] == [(UNCOND,), (COND,)] * STEPS


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 16), (24, 8)])
def test_each_picture_of_a_batch_is_the_picture_it_would_be_alone(
    model: Any, prompts: list[ImagePrompt], height: int, width: int
) -> None:
    prompted = apply(model, prompts[0])
    start = noise(3, height, width)
    together = sample(prompted, given=start)
    for row in range(3):
        assert difference(together[row : row + 1], sample(prompted, given=start[row : row + 1])) < 1e-4


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


@of_unets
def test_conds_with_weight_hooks_keep_their_sides(model: Any, prompts: list[ImagePrompt], calls: list[Any]) -> None:
    """A LoRA on the positive text alone is sampled in calls of its own."""
    import comfy.hooks

    query = "diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_q.weight"
    hook = comfy.hooks.WeightHook(strength_model=1.0)
    hook.weights, hook.weights_clip, hook.need_weight_init = {query: (torch.eye(128),)}, None, False
    hooks = comfy.hooks.HookGroup()
    hooks.add(hook)
    hooked = comfy.hooks.set_hooks_for_conditioning(cond(1), hooks)
    prompted = sample(apply(model, prompts[0]), positive=hooked)
    assert sorted(sides for sides, _ in calls) == [(COND,)] * STEPS + [(UNCOND,)] * STEPS
    assert difference(prompted, sample(model, positive=hooked)) > 0.1
    assert difference(prompted, sample(apply(model, prompts[0]))) > 1e-4


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


def test_a_span_without_steps_is_the_untouched_model_bit_for_bit(model: Any, prompts: list[ImagePrompt]) -> None:
    assert torch.equal(sample(apply(model, prompts[0], 1.0, Span(2, 2, "steps"))), sample(model))


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
    batch = run.batch({}, x, torch.float32)
    acts = [bool(run.prepare(batch, torch.tensor([sigma]), keep_all=False)) for sigma in (9.0, 6.0, 4.0)]
    assert acts == [True, True, False]


@of_unets
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_prompt_follows_the_dtype_of_the_model(sd15: Twins, prompts: list[ImagePrompt], dtype: torch.dtype) -> None:

    cast = Twins("SD1.5").patcher
    cast.model.manual_cast_dtype = dtype
    cast.model.diffusion_model.to(dtype)
    cast.model.diffusion_model.dtype = dtype
    found = sample(apply(cast, prompts[0]), cfg=1.0)
    exact = sample(apply(sd15.patcher, prompts[0]), cfg=1.0)
    assert torch.isfinite(found).all()
    assert difference(found, exact) < 0.5 * difference(exact, sample(sd15.patcher, cfg=1.0))
