"""Steps told by counting are those that the noise levels tell, and nothing asks the device while sampling."""

from pathlib import Path
from traceback import extract_stack
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from comfyui_ip_adapter.ip_adapter_core.curves import Course, Schedule
from comfyui_ip_adapter.ip_adapter_core.prompt import ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.schedule import Span
from sampled import apply, make_prompt, sample
from twins import Twins

pytestmark = [
    pytest.mark.usefixtures("comfy"),
    pytest.mark.filterwarnings("ignore:Should have tb"),
    pytest.mark.filterwarnings("ignore:__array_wrap__"),
]

STEPS = 6
RISING = Schedule((Course("linear", "steps", 0.2, 1.0),))
OURS = str(Path(__file__).resolve().parents[1])


@pytest.fixture(scope="module")
def small(comfy: None) -> Twins:
    return Twins("one level")


@pytest.fixture(scope="module")
def prompt(small: Twins, tmp_path_factory: pytest.TempPathFactory) -> ImagePrompt:
    return make_prompt(small, tmp_path_factory.mktemp("adapters"), 1)


def counted() -> list[str]:
    """The samplers whose steps are told by counting."""
    from comfyui_ip_adapter.nodes.host import steps

    return [name.removeprefix("sample_") for name in steps._STEPS]


def known(name: str) -> bool:
    import comfy.samplers

    return name in comfy.samplers.KSampler.SAMPLERS


@pytest.mark.parametrize("denoise", [1.0, 0.5])
def test_counted_steps_are_those_of_the_noise_levels(
    small: Twins, prompt: ImagePrompt, monkeypatch: pytest.MonkeyPatch, denoise: float
) -> None:
    from comfyui_ip_adapter.nodes.host.run import Run

    seen: list[tuple[float, float, list[float]]] = []
    original = Run._level

    def recording(run: Run, sigma: Tensor) -> float:
        found = original(run, sigma)
        assert run._step_of is not None
        seen.append((float(sigma.flatten()[0]), found, run._levels))
        return found

    monkeypatch.setattr(Run, "_level", recording)
    names = [name for name in counted() if known(name)]
    assert len(names) >= 18
    for name in names:
        seen.clear()
        sample(apply(small.patcher, prompt, schedule=RISING), sampler=name, steps=STEPS, denoise=denoise, cfg=1.0)
        assert len(seen) >= STEPS, name
        for level, found, levels in seen:
            began = [given for given in levels[:-1] if given >= level * (1 - 1e-5)]
            assert found == pytest.approx(min(began)), name


def test_samplers_with_steps_of_their_own_are_read(small: Twins, prompt: ImagePrompt) -> None:
    import comfy.samplers

    from comfyui_ip_adapter.nodes.host.steps import step_of

    for name in ("dpm_adaptive", "dpm_fast", "uni_pc"):
        assert step_of(comfy.samplers.sampler_object(name)) is None, name
    assert step_of(comfy.samplers.ksampler("dpm_2", {"s_churn": 1.0})) is None


class Reads(TorchDispatchMode):
    """Notes who asks for the value of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.ours: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            frames = [f"{frame.filename}:{frame.lineno}" for frame in extract_stack()]
            asking = [frame for frame in frames[-6:] if frame.startswith((f"{OURS}/nodes", f"{OURS}/ip_adapter_core"))]
            self.ours += asking[-1:]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "heun", "dpmpp_2m_sde"])
def test_nothing_asks_the_device_while_sampling(small: Twins, prompt: ImagePrompt, sampler: str) -> None:
    half = torch.zeros(1, 8, 8)
    half[..., :4] = 1
    model = small.patcher
    for use in ({}, {"schedule": RISING}, {"span": Span(0.2, 0.7)}, {"mask": half}, {"span": Span(1, 3, "steps")}):
        with Reads() as reads:
            sample(apply(model, prompt, 0.8, **use), sampler=sampler, steps=STEPS)
        during = [place for place in reads.ours if "sampling.py" in place or "run.py" in place or "stacks.py" in place]
        assert during == [], use


def test_a_read_would_be_noticed(small: Twins, prompt: ImagePrompt) -> None:
    with Reads() as reads:
        sample(apply(small.patcher, prompt, schedule=RISING), sampler="dpmpp_sde", steps=3)
    assert any("run.py" in place for place in reads.ours)
