"""Image prompts in ComfyUI's own samplers: sides, spans, stacking, foreign patches, guiders, compiled models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core import layout
from comfyui_ip_adapter.ip_adapter_core.adapter import load
from comfyui_ip_adapter.ip_adapter_core.prompt import COND, UNCOND, ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.schedule import Span
from fabricate import adapters
from twins import Twins

pytestmark = pytest.mark.usefixtures("comfy")
EMBED = 40
STEPS = 4


@pytest.fixture(scope="module")
def twins(comfy: None) -> Twins:
    return Twins("SD1.5")


@pytest.fixture(scope="module")
def model(twins: Twins) -> Any:
    return twins.patcher


@pytest.fixture(scope="module")
def prompts(twins: Twins, tmp_path_factory: pytest.TempPathFactory) -> list[ImagePrompt]:
    """Two prompts of two adapters."""
    return [_prompt(twins, tmp_path_factory.mktemp("adapters"), seed) for seed in (1, 2)]


def _prompt(twins: Twins, folder: Path, seed: int, tokens: int = 4) -> ImagePrompt:
    widths = tuple(layer.width for layer in layout.layers(twins.patcher.model.model_config.unet_config))
    nested = adapters.adapter("base", widths, twins.context, EMBED, seed, tokens=tokens)
    network = load(adapters.save(folder / f"{seed}.safetensors", nested))
    random = torch.Generator().manual_seed(seed)
    return image_prompt(network, torch.randn(1, EMBED, generator=random), torch.zeros(1, EMBED))


def apply(model: Any, prompt: ImagePrompt, weight: float = 1.0, span: Span | None = None) -> Any:
    from comfyui_ip_adapter.nodes.host import models

    return models.apply(model, prompt, weight, span or Span())


def cond(seed: int, context: int = 48) -> list[Any]:
    return [[torch.randn(1, 7, context, generator=torch.Generator().manual_seed(seed)), {}]]


def noise(batch: int = 1, height: int = 8, width: int = 8) -> Tensor:
    return torch.randn(batch, 4, height, width, generator=torch.Generator().manual_seed(9))


def sample(model: Any, cfg: float = 4.0, sampler: str = "euler", given: Tensor | None = None, **more: Any) -> Tensor:
    import comfy.sample

    start = noise() if given is None else given
    options = {"steps": STEPS, "cfg": cfg, "sampler_name": sampler, "scheduler": "normal"} | more
    latent = options.pop("latent", torch.zeros_like(start))
    positive, negative = options.pop("positive", cond(1)), options.pop("negative", cond(2))
    return comfy.sample.sample(
        model, start, positive=positive, negative=negative, latent_image=latent, disable_pbar=True, seed=1, **options
    )


def difference(a: Tensor, b: Tensor) -> float:
    """Largest difference, as a share of the largest value."""
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], int]]:
    """For every model call: the sides of its chunks, and how many layers were patched."""
    from comfyui_ip_adapter.nodes.host.run import Run

    seen: list[tuple[tuple[int, ...], int]] = []
    prepared = Run.prepared

    def recording(run: Run, batch: Any, *rest: Any, **more: Any) -> Any:
        found = prepared(run, batch, *rest, **more)
        seen.append((batch.sides, len(found)))
        return found

    monkeypatch.setattr(Run, "prepared", recording)
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
    assert not model.wrappers.get("apply_model")


def test_two_adapters_add_up_in_any_order(model: Any, prompts: list[ImagePrompt]) -> None:
    one, other = prompts
    both = sample(apply(apply(model, one, 0.7), other, 0.5))
    assert difference(both, sample(apply(apply(model, other, 0.5), one, 0.7))) < 1e-4
    assert difference(both, sample(apply(model, one, 0.7))) > 0.1
    assert difference(both, sample(apply(model, other, 0.5))) > 0.1


def test_the_same_prompt_twice_is_the_prompt_at_the_summed_weight(model: Any, prompts: list[ImagePrompt]) -> None:
    twice = sample(apply(apply(model, prompts[0], 0.3), prompts[0], 0.4))
    assert difference(twice, sample(apply(model, prompts[0], 0.7))) < 1e-4


def halved(model: Any, *address: Any) -> Any:
    """Another pack's patch: text values count half in this block."""
    from comfy.ldm.modules.attention import optimized_attention

    clone = model.clone()
    clone.set_model_attn2_replace(lambda q, k, v, extra: optimized_attention(q, k, v * 0.5, extra["n_heads"]), *address)
    return clone


@pytest.mark.parametrize("address", [("middle", 0, 0), ("middle", 0)])
def test_foreign_patches_keep_their_effect_in_any_order(
    model: Any, prompts: list[ImagePrompt], address: tuple[Any, ...]
) -> None:
    ours_last = sample(apply(halved(model, *address), prompts[0]))
    ours_first = sample(halved(apply(model, prompts[0]), *address))
    assert torch.equal(ours_last, ours_first)
    assert difference(ours_last, sample(apply(model, prompts[0]))) > 1e-4
    assert difference(ours_last, sample(halved(model, *address))) > 0.1


def test_cond_and_uncond_rows_get_their_sides(model: Any, prompts: list[ImagePrompt], calls: list[Any]) -> None:
    sample(apply(model, prompts[0]))
    assert calls == [((UNCOND, COND), 16)] * STEPS


def test_guidance_one_needs_no_uncond_side(model: Any, prompts: list[ImagePrompt], calls: list[Any]) -> None:
    sample(apply(model, prompts[0]), cfg=1.0)
    assert calls == [((COND,), 16)] * STEPS


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
    start = noise()
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
    from comfyui_ip_adapter.nodes.host.run import Run

    class Sampling:
        @staticmethod
        def percent_to_sigma(percent: float) -> float:
            return 10.0 * (1 - percent)

    used = apply(model, prompts[0], 1.0, Span(0.0, 0.5)).wrappers["apply_model"]["ip_adapter"][0].__self__
    run = Run(used.applications, Sampling, torch.tensor([9.0, 6.0, 4.0, 0.0]))
    x = noise()
    batch = run.batch({}, x, torch.float32)
    acts = [bool(run.prepared(batch, torch.tensor([sigma]), keep=False)) for sigma in (9.0, 6.0, 4.0)]
    assert acts == [True, True, False]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_prompt_follows_the_dtype_of_the_model(
    twins: Twins, prompts: list[ImagePrompt], dtype: torch.dtype
) -> None:

    cast = Twins("SD1.5").patcher
    cast.model.manual_cast_dtype = dtype
    cast.model.diffusion_model.to(dtype)
    cast.model.diffusion_model.dtype = dtype
    found = sample(apply(cast, prompts[0]), cfg=1.0)
    exact = sample(apply(twins.patcher, prompts[0]), cfg=1.0)
    assert torch.isfinite(found).all()
    assert difference(found, exact) < 0.5 * difference(exact, sample(twins.patcher, cfg=1.0))


def compiled(model: Any) -> Any:
    """As core's TorchCompileModel does it, with dynamo's own backend: no compiler is needed."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper

    clone = model.clone()
    options = {"guard_filter_fn": lambda guards: [("transformer_options" not in guard.name) for guard in guards]}
    set_torch_compile_wrapper(model=clone, backend="eager", options=options)
    return clone


@pytest.fixture(scope="module")
def small(comfy: None) -> Twins:
    """Six layers: tracing takes time with every one."""
    return Twins("one level")


@pytest.fixture(scope="module")
def small_prompts(small: Twins, tmp_path_factory: pytest.TempPathFactory) -> list[ImagePrompt]:
    return [_prompt(small, tmp_path_factory.mktemp("adapters"), seed) for seed in (1, 2)]


@pytest.fixture
def attention(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's attention of this name: dynamo traces pytorch's in one graph, and sub_quad's in many."""
    import torch._dynamo
    from comfy.ldm.modules import attention
    from torch._dynamo.utils import counters

    monkeypatch.setattr(attention, "optimized_attention", getattr(attention, f"attention_{request.param}"))
    torch._dynamo.reset()
    counters.clear()


def bare(model: Any) -> Any:
    return model


@pytest.mark.parametrize("order", ["compiled last", "compiled first"])
@pytest.mark.parametrize("attention", ["pytorch", "sub_quad"], indirect=True)
def test_a_compiled_model_gives_what_the_eager_one_gives(
    small: Twins, small_prompts: list[ImagePrompt], attention: None, order: str
) -> None:
    one, other = small_prompts
    uses: list[Callable[[Any], Any]] = [
        lambda model: apply(model, one, 0.7),
        bare,
        lambda model: apply(model, one, 0.2),
        lambda model: apply(model, other, 0.7),
        lambda model: apply(apply(model, one, 0.7), other, 0.5),
        lambda model: apply(model, one, 1.0, Span(1, 3, "steps")),
        lambda model: halved(apply(model, one, 0.7), "middle", 0),
        bare,
    ]
    for number, use in enumerate(uses):
        model = small.patcher
        found = sample(use(compiled(model)) if order == "compiled first" else compiled(use(model)))
        assert difference(found, sample(use(model))) < 1e-5, number


@pytest.mark.parametrize("attention", ["pytorch", "sub_quad"], indirect=True)
def test_a_compiled_bare_model_notices_a_prompt(
    small: Twins, small_prompts: list[ImagePrompt], attention: None
) -> None:
    for use in (bare, lambda model: apply(model, small_prompts[0], 0.7), bare):
        assert difference(sample(compiled(use(small.patcher))), sample(use(small.patcher))) < 1e-5
