"""The path of the nodes on a CUDA device: nothing is on two devices at once, and no step waits for a value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapter import load
from comfyui_ip_adapter.ip_adapter_core.arithmetic import combined
from comfyui_ip_adapter.ip_adapter_core.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.curves import Course, Schedule
from comfyui_ip_adapter.ip_adapter_core.prompt import ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.schedule import Span
from fabricate import adapters
from fake_cuda import CUDA, OnCuda, fake_cuda
from sampled import EMBED, apply, cond, difference, halved, make_prompt, noise, sample
from test_control import tiled, windowed
from twins import Twins

pytestmark = pytest.mark.filterwarnings("ignore:Should have tb")

Use = Callable[..., Any]
NEAR = {torch.float16: 0.01, torch.bfloat16: 0.06}  # of results of four steps on a random network
OPENING = ["run.__init__"]  # where a run begins, it reads its noise levels, once
RISING = Schedule((Course("linear", "steps", 0.25, 1.0),))
HALF = torch.eye(8)[None]
HALVES = torch.stack([torch.eye(8), 1 - torch.eye(8)])


@pytest.fixture(scope="module")
def twins(comfy: None) -> Twins:
    return Twins("one level")


@pytest.fixture(scope="module")
def prompts(twins: Twins, tmp_path_factory: pytest.TempPathFactory) -> list[ImagePrompt]:
    """Of 4, 4 and 16 tokens; and of four frames."""
    folder = tmp_path_factory.mktemp("adapters")
    made = [make_prompt(twins, folder, seed, tokens) for seed, tokens in ((1, 4), (2, 4), (3, 16))]
    frames, uncond = torch.randn(4, EMBED, generator=torch.Generator().manual_seed(4)), torch.zeros(1, EMBED)
    network = load(folder / "1.safetensors")
    return [*made, image_prompt(network, (frames,), (uncond,), Gathering("one per frame"))]


def there(dtype: torch.dtype) -> Any:
    """A new MODEL of the same weights that computes in this precision on the device."""
    model = Twins("one level").patcher
    model.load_device = CUDA
    model.model.to(dtype)
    model.model.diffusion_model.dtype = dtype
    return model


USES: dict[str, Use] = {
    "one": lambda model, a, b, c, *more: apply(model, a, 0.7),
    "two": lambda model, a, b, c, *more: apply(apply(model, a, 0.7), b, 0.4),
    "mixed": lambda model, a, b, c, *more: apply(apply(apply(model, a, 0.7), c, 0.4), b, 0.3),
    "masked": lambda model, a, b, c, *more: apply(apply(model, a, 0.7, mask=HALF), b, 0.5),
    "emphasised": lambda model, a, b, c, *more: apply(model, combined(a, b, "side by side", (1.0, 0.4)), scaling="K+V"),
    "in a span": lambda model, a, b, c, *more: apply(model, a, 0.7, Span(0.2, 0.8)),
    "in steps": lambda model, a, b, c, *more: apply(model, a, 0.7, Span(1, 3, "steps")),
    "scheduled": lambda model, a, b, c, *more: apply(apply(model, a, 0.7, schedule=RISING), b, 0.5),
    "beside another pack": lambda model, a, b, c, *more: halved(apply(apply(model, a, 0.7), b, 0.5), "middle", 0),
}


def on_device(use: Callable[[], Tensor]) -> tuple[Tensor, list[str]]:
    """What comes out there, brought home in fp32, and which functions of this package waited for the device."""
    with pytest.MonkeyPatch.context() as patch, fake_cuda(patch) as device:
        found = use()
        waits = list(device.waits)
    return (found.held if isinstance(found, OnCuda) else found).float(), waits


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("use", USES)
def test_sampling_there_gives_what_it_gives_here_and_waits_for_nothing(
    twins: Twins, prompts: list[ImagePrompt], use: str, dtype: torch.dtype
) -> None:
    expected = sample(USES[use](twins.patcher, *prompts))
    found, waits = on_device(lambda: sample(USES[use](there(dtype), *prompts)))
    assert waits == OPENING
    effect = difference(sample(twins.patcher), expected)
    assert difference(found, expected) < min(NEAR[dtype], effect / 2)


@pytest.mark.parametrize(
    ("sampler", "random"),
    [
        ("dpmpp_2m", False),
        ("heun", False),
        ("dpm_2", False),
        ("dpmpp_2m_sde", False),
        ("euler_ancestral", True),
        ("lcm", True),
        ("ddpm", True),
    ],
)
def test_usual_samplers_wait_for_nothing(twins: Twins, prompts: list[ImagePrompt], sampler: str, random: bool) -> None:
    """random: the device draws noise of its own."""
    use = USES["in steps"]
    found, waits = on_device(lambda: sample(use(there(torch.float16), *prompts), sampler=sampler))
    assert waits == OPENING
    assert found.isfinite().all()
    assert random or difference(found, sample(use(twins.patcher, *prompts), sampler=sampler)) < 0.05


MOVING: dict[str, tuple[Use, int, int]] = {
    "frames": (lambda model, frames, one: apply(apply(model, frames, 0.7), one, 0.4, schedule=RISING), 4, 8),
    "windows": (lambda model, frames, one: windowed(apply(model, frames, mask=HALVES), 2), 4, 8),
    "tiles": (lambda model, frames, one: tiled(apply(apply(model, one, mask=HALF), one, 0.4), 2), 2, 16),
}


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("use", MOVING)
def test_frames_windows_and_tiles_there_are_those_here(
    twins: Twins, prompts: list[ImagePrompt], use: str, dtype: torch.dtype
) -> None:
    made, batch, width = MOVING[use]
    given = noise(batch, 8, width)
    expected = sample(made(twins.patcher, prompts[3], prompts[0]), given=given)
    found, waits = on_device(lambda: sample(made(there(dtype), prompts[3], prompts[0]), given=given))
    assert difference(found, expected) < NEAR[dtype]
    assert set(waits) - set(OPENING) <= {"places.corner_of"}  # where a tile lies is found by its numbers


def test_an_area_there_is_that_here(twins: Twins, prompts: list[ImagePrompt]) -> None:
    area = [[cond(1)[0][0], {"area": (8, 8, 0, 8), "strength": 1.0}]]
    given = {"given": noise(1, 8, 16), "positive": area, "cfg": 1.0}
    expected = sample(apply(twins.patcher, prompts[0], mask=HALF), **given)
    found, _ = on_device(lambda: sample(apply(there(torch.float16), prompts[0], mask=HALF), **given))
    assert difference(found, expected) < NEAR[torch.float16]


@pytest.mark.parametrize("kind", ["base", "plus"])
def test_an_adapter_there_makes_the_prompt_it_makes_here(comfy: None, tmp_path: Path, kind: str) -> None:
    from comfyui_ip_adapter.nodes.host.adapters import read

    file = adapters.save(tmp_path / "a.safetensors", adapters.adapter(**adapters.KINDS[kind]))
    given = torch.randn(1, 5, 64) if kind == "plus" else torch.randn(1, 32)

    def made() -> Tensor:
        adapter = read("a", file)
        (part,) = adapter.prompt((given,), (given * 0,)).parts
        assert not any(isinstance(one, OnCuda) for pair in part.keys_values for one in pair)
        return torch.cat([one.flatten() for pair in part.keys_values for one in pair])

    expected = made()
    found, _ = on_device(lambda: made())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_tensors_of_two_devices_in_one_operation_are_an_error(comfy: None) -> None:
    with pytest.MonkeyPatch.context() as patch, fake_cuda(patch):
        there, here = torch.ones(2, device=CUDA), torch.ones(2)
        assert there.is_cuda and not here.is_cuda
        with pytest.raises(RuntimeError, match="of the device and of the processor"):
            there + here
        with pytest.raises(RuntimeError, match="of the device and of the processor"):
            torch.nn.functional.scaled_dot_product_attention(there[None], there[None], here[None])
        assert (there + here.to(CUDA)).sum() == 4
