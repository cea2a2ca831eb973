"""Which step a call is: what samplers say agrees with the noise levels, whatever skips calls or turns levels round, and
nothing asks the device while sampling."""

import re
from traceback import extract_stack
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from package import ROOT
from sampled import apply, cond, difference, noise, sample
from twins import Twins

pytestmark = [
    pytest.mark.usefixtures("comfy"),
    pytest.mark.filterwarnings("ignore:Should have tb"),
    pytest.mark.filterwarnings("ignore:__array_wrap__"),
]

STEPS = 6
RISING = Schedule((Curve("linear", "steps", 0.2, 1.0),))
PRODUCT = (f"{ROOT}/nodes", f"{ROOT}/ip_adapter_core")
OF_NUMBERS = {"_timestep"}  # which reads a tensor that it makes of a number, in main memory
_DURING = (
    "model_patch|layer_patch|layer_options|run|steps|cond_sides|crops|batch|prepared|prepared_layers|foreign_attention"
    "|dit_blocks|double_blocks|flux_queries|inner_attention|joint_blocks|cross_blocks|grouped|reference|joint"
)
DURING = re.compile(rf"/({_DURING})\.py")


def told(steps: ModuleType) -> list[str]:
    """The samplers whose steps are known without reading."""
    import comfy.samplers

    names = [name.removeprefix("sample_") for name in steps._MAX_CALLS]
    return [name for name in names if name in comfy.samplers.KSampler.SAMPLERS]


@pytest.mark.parametrize("denoise", [1.0, 0.5])
def test_what_samplers_say_is_what_the_noise_levels_tell(
    small: Twins,
    prompt: ImagePrompt,
    steps: ModuleType,
    instants: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    denoise: float,
) -> None:
    monkeypatch.setattr(steps.Clock, "_by_level", lambda *given: pytest.fail("a level was read"))
    assert len(told(steps)) >= 18
    for name in told(steps):
        instants.clear()
        sample(apply(small.patcher, prompt, schedule=RISING), sampler=name, steps=STEPS, denoise=denoise, cfg=1.0)
        assert len(instants) >= STEPS, name
        for clock, level, found in instants:
            began = [number for number, given in enumerate(clock.levels[:-1]) if given >= level * (1 - 1e-5)]
            assert found == (max(began), pytest.approx(clock.levels[max(began)])), name


def test_samplers_with_steps_of_their_own_are_read(steps: ModuleType) -> None:
    import comfy.samplers

    for name in ("dpm_adaptive", "dpm_fast", "dpm_2", "uni_pc"):
        assert not steps.max_calls(comfy.samplers.sampler_object(name)), name
    assert not steps.max_calls(comfy.samplers.ksampler("heun", {"s_churn": 1.0}))
    assert steps.max_calls(comfy.samplers.sampler_object("euler"))


@pytest.mark.parametrize("first", ["adapter", "cache"])
def test_calls_that_a_cache_skips_count_as_steps(
    small: Twins, prompt: ImagePrompt, instants: list[Any], first: str
) -> None:
    from comfy_extras.nodes_easycache import LazyCacheNode

    def cached(model: Any) -> Any:
        return LazyCacheNode.execute(model, 0.5, 0.0, 1.0, False)[0]

    falling, skipping = {"schedule": Schedule((Curve("linear", "steps", 1.0, 0.0),))}, 11
    base = small.patcher
    model = cached(apply(base, prompt, **falling)) if first == "adapter" else apply(cached(base), prompt, **falling)
    sample(model, cfg=1.0, steps=skipping)
    assert 1 < len(instants) < skipping, "nothing was skipped"
    for clock, level, found in instants:
        assert found.step == min(range(skipping), key=lambda number: abs(clock.levels[number] - level))


def flipped(model: Any, sampler: str, sigmas: Tensor) -> Tensor:
    """A picture taken back to noise, along noise levels that rise."""
    import comfy.samplers
    from comfy.sample import sample_custom

    x, chosen = noise(), comfy.samplers.sampler_object(sampler)
    return sample_custom(
        model, torch.zeros_like(x), 1.0, chosen, sigmas, cond(1), cond(2), x, disable_pbar=True, seed=1
    )


def rising(model: Any) -> Tensor:
    import comfy.samplers

    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", STEPS).flip(0).clone()
    sigmas[0] = 1e-4
    return sigmas


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_sde"])
@pytest.mark.parametrize(("span", "acts"), [(Span(0, 3, "steps"), [0, 1, 2]), (Span(3, 6, "steps"), [3, 4, 5])])
def test_spans_in_steps_act_where_noise_levels_rise(
    small: Twins, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch, sampler: str, span: Span, acts: list[int]
) -> None:
    """Euler tells its steps; the other one is read, and has two calls a step."""
    from comfyui_ip_adapter.nodes.host.sampling.run import Run

    seen: list[tuple[float, float]] = []
    original = Run.strengths

    def recording(run: Run, sigma: Tensor) -> tuple[float, ...]:
        found = original(run, sigma)
        seen.append((float(sigma.flatten()[0]), found[0]))
        return found

    monkeypatch.setattr(Run, "strengths", recording)
    sigmas = rising(small.patcher)
    flipped(apply(small.patcher, prompt, span=span), sampler, sigmas)
    begun = [(max(sum(float(s) <= level * (1 + 1e-5) for s in sigmas) - 1, 0), strength) for level, strength in seen]
    assert begun
    assert all(strength == (min(step, STEPS - 1) in acts) for step, strength in begun)


def test_the_whole_is_the_same_picture_along_rising_levels_as_in_percent(small: Twins, prompt: ImagePrompt) -> None:
    sigmas = rising(small.patcher)
    found = flipped(apply(small.patcher, prompt, span=Span(0, STEPS, "steps")), "euler", sigmas)
    assert torch.equal(found, flipped(apply(small.patcher, prompt), "euler", sigmas))


def test_a_run_in_two_parts_is_the_whole_run(small: Twins, prompt: ImagePrompt) -> None:
    prompted = apply(small.patcher, prompt, span=Span(0.2, 0.7), schedule=Schedule((Curve("cosine", "percent"),)))
    whole = sample(prompted, steps=STEPS)
    half = sample(prompted, steps=STEPS, last_step=3, force_full_denoise=False)
    rest = sample(prompted, given=torch.zeros_like(half), latent=half, steps=STEPS, start_step=3, disable_noise=True)
    assert difference(rest, whole) < 1e-5


@pytest.mark.parametrize(
    ("levels", "told", "level", "step"),
    [
        ([8.0, 4.0, 2.0, 0.0], 0, 8.0, 0),
        ([8.0, 4.0, 2.0, 0.0], 0, 3.0, 1),
        ([8.0, 4.0, 2.0, 0.0], 0, 9.0, 0),
        ([1.0, 2.0, 4.0, 8.0], 1, 2.0, 1),
        ([1.0, 2.0, 4.0, 8.0], 2, 3.0, 1),
        ([1.0, 2.0, 4.0, 8.0], 3, 8.0, 2),
        ([8.0, 4.0, 6.0, 0.0], 2, 6.0, 2),  # as in a restart
        ([8.0, 4.0, 6.0, 0.0], 2, 5.0, 1),
    ],
)
def test_a_level_that_is_read_is_of_the_step_that_is_on(
    steps: ModuleType, levels: list[float], told: int, level: float, step: int
) -> None:
    clock = steps.Clock(levels)
    if told:
        clock.sampler_called_back(told - 1)
    assert clock.now(torch.tensor([level])) == (step, level)


def test_more_calls_than_a_sampler_makes_are_read(steps: ModuleType) -> None:
    clock = steps.Clock([8.0, 4.0, 2.0, 0.0], 1)
    clock.guider_called()
    assert clock.now(torch.tensor([7.9])) == (0, 8.0)
    clock.guider_called()
    assert clock.now(torch.tensor([4.0])) == (1, 4.0)


class Reads(TorchDispatchMode):
    """Notes who asks for the value of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.ours: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            asking = [each for each in extract_stack()[-6:] if each.filename.startswith(PRODUCT)]
            self.ours += [f"{each.filename}:{each.lineno}" for each in asking[-1:] if each.name not in OF_NUMBERS]
        return func(*args, **(kwargs or {}))


def reads_nothing(model: Any, prompt: ImagePrompt, sampler: str) -> None:
    half = torch.zeros(1, 8, 8)
    half[..., :4] = 1
    for use in ({}, {"schedule": RISING}, {"span": Span(0.2, 0.7)}, {"mask": half}, {"span": Span(1, 3, "steps")}):
        with Reads() as reads:
            sample(apply(model, prompt, 0.8, **use), sampler=sampler, steps=STEPS)
        assert [place for place in reads.ours if DURING.search(place)] == [], use


def test_nothing_asks_the_device_while_sampling(twins: Twins, prompts: list[ImagePrompt]) -> None:
    reads_nothing(twins.patcher, prompts[0], "euler")


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "heun", "dpmpp_2m_sde"])
def test_no_sampler_has_the_device_asked(small: Twins, prompt: ImagePrompt, sampler: str) -> None:
    reads_nothing(small.patcher, prompt, sampler)


def test_a_read_would_be_noticed(small: Twins, prompt: ImagePrompt) -> None:
    with Reads() as reads:
        sample(apply(small.patcher, prompt, schedule=RISING), sampler="dpmpp_sde", steps=3)
    assert any("steps.py" in place for place in reads.ours)
