"""The path of the nodes on a CUDA device: nothing is on two devices at once, and no step waits for a value.

Compiled models are not among it. Dynamo (torch 2.11) leaves every frame alone while such a device is there ("non-infra
torch dispatch mode present, this is not supported today in torch.compile"), so that a compiled model runs as any other;
made to trace, it breaks its graphs ("does not know how to trace method `__getitem__` of class `OnCuda`").
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.attention.application import ApplyOptions as Used
from comfyui_ip_adapter.ip_adapter_core.prompts.arithmetic import combine_prompts
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from constructions import EMBED, halved
from devices.cuda_with_numbers import CUDA, fake_cuda, on_device
from face_prompts import face_prompt
from parts import tiled, windowed
from sampled import apply, cond, difference, make_prompt, noise, sample
from twins import Twins
from watched import look

pytestmark = pytest.mark.filterwarnings("ignore:Should have tb")

Use = Callable[..., Any]
NEAR = {torch.float16: 0.01, torch.bfloat16: 0.06}  # of results of four steps on a random network
OPENING = ["run.__init__"]  # where a run begins, it reads its noise levels, once
RISING = Schedule((Curve("linear", "steps", 0.25, 1.0),))
HALF = torch.eye(8)[None]
HALVES = torch.stack([torch.eye(8), 1 - torch.eye(8)])


@pytest.fixture(scope="module")
def prompts(small: Twins, tmp_path_factory: pytest.TempPathFactory) -> list[ImagePrompt]:
    """Of 4, 4 and 16 tokens; of four frames; and of a face, with a LoRA."""
    folder = tmp_path_factory.mktemp("adapters")
    made = [make_prompt(small, folder, seed, tokens) for seed, tokens in ((1, 4), (2, 4), (3, 16))]
    frames, uncond = torch.randn(4, EMBED, generator=torch.Generator().manual_seed(4)), torch.zeros(1, EMBED)
    network = load(folder / "1.safetensors")
    framed = image_prompt(network, (frames,), (uncond,), Gathering("one per frame"))
    return [*made, framed, face_prompt(small, folder)]


def there(dtype: torch.dtype) -> Any:
    """A new MODEL of the same weights that computes in this precision on the device."""
    model = Twins("one level").patcher
    model.load_device = CUDA
    model.model.to(dtype)
    model.model.diffusion_model.dtype = dtype
    return model


def beside(name: str, model: Any) -> Any:
    """What another pack does, by a name of its table."""
    from packs.neighbours.manners import MANNERS

    return MANNERS[name](model)


def cached(model: Any) -> Any:
    from comfy_extras.nodes_easycache import LazyCacheNode

    return LazyCacheNode.execute(model, 0.5, 0.0, 1.0, False)[0]


USES: dict[str, Use] = {
    "one": lambda model, a, b, c, *more: apply(model, a, 0.7),
    "two": lambda model, a, b, c, *more: apply(apply(model, a, 0.7), b, 0.4),
    "mixed": lambda model, a, b, c, *more: apply(apply(apply(model, a, 0.7), c, 0.4), b, 0.3),
    "masked": lambda model, a, b, c, *more: apply(apply(model, a, 0.7, mask=HALF), b, 0.5),
    "biased": lambda model, a, b, c, *more: apply(
        model, combine_prompts(a, b, "side by side", (1.0, 0.4)), scaling="K+V"
    ),
    "in a span": lambda model, a, b, c, *more: apply(model, a, 0.7, Span(0.2, 0.8)),
    "in steps": lambda model, a, b, c, *more: apply(model, a, 0.7, Span(1, 3, "steps")),
    "scheduled": lambda model, a, b, c, *more: apply(apply(model, a, 0.7, schedule=RISING), b, 0.5),
    "with its LoRA": lambda model, a, b, c, frames, face: apply(apply(model, face, 0.7, lora_strength=0.8), a, 0.3),
    "with its LoRA twice": lambda model, a, b, c, frames, face: apply(apply(model, face, 0.7), face, lora_strength=0.5),
    "beside another pack": lambda model, a, b, c, *more: halved(apply(apply(model, a, 0.7), b, 0.5), "middle", 0),
    "beside regions": lambda model, a, b, c, *more: beside("3 equal regions", apply(apply(model, a, mask=HALF), b)),
    "beside an exchanged module": lambda model, a, b, c, *more: beside("module exchanged", apply(apply(model, a), c)),
}


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("use", USES)
def test_sampling_there_gives_what_it_gives_here_and_waits_for_nothing(
    small: Twins, prompts: list[ImagePrompt], use: str, dtype: torch.dtype
) -> None:
    expected = sample(USES[use](small.patcher, *prompts))
    found, waits = on_device(lambda: sample(USES[use](there(dtype), *prompts)))
    assert waits == OPENING
    effect = difference(sample(small.patcher), expected)
    assert difference(found, expected) < min(NEAR[dtype], effect / 2)


@pytest.mark.parametrize(
    ("sampler", "random"),
    [
        ("dpmpp_2m", False),
        ("heun", False),
        ("dpmpp_2m_sde", False),
        ("euler_ancestral", True),
        ("lcm", True),
        ("ddpm", True),
    ],
)
def test_usual_samplers_wait_for_nothing(small: Twins, prompts: list[ImagePrompt], sampler: str, random: bool) -> None:
    """random: the device draws noise of its own."""
    use = USES["in steps"]
    found, waits = on_device(lambda: sample(use(there(torch.float16), *prompts), sampler=sampler))
    assert waits == OPENING
    assert found.isfinite().all()
    assert random or difference(found, sample(use(small.patcher, *prompts), sampler=sampler)) < 0.05


MOVING: dict[str, tuple[Use, int, int]] = {
    "frames": (lambda model, frames, one: apply(apply(model, frames, 0.7), one, 0.4, schedule=RISING), 4, 8),
    "windows": (lambda model, frames, one: windowed(apply(model, frames, mask=HALVES), 2), 4, 8),
    "tiles": (lambda model, frames, one: tiled(apply(apply(model, one, mask=HALF), one, 0.4), 2), 2, 16),
}


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("use", MOVING)
def test_frames_windows_and_tiles_there_are_those_here(
    small: Twins, prompts: list[ImagePrompt], use: str, dtype: torch.dtype
) -> None:
    made, batch, width = MOVING[use]
    given = noise(batch, 8, width)
    expected = sample(made(small.patcher, prompts[3], prompts[0]), given=given)
    found, waits = on_device(lambda: sample(made(there(dtype), prompts[3], prompts[0]), given=given))
    assert difference(found, expected) < NEAR[dtype]
    assert set(waits) - set(OPENING) <= {"crops.corner_of", "crops._is_at"}  # a tile is found by its numbers


def test_an_area_there_is_that_here(small: Twins, prompts: list[ImagePrompt]) -> None:
    area = [[cond(1)[0][0], {"area": (8, 8, 0, 8), "strength": 1.0}]]
    given = {"given": noise(1, 8, 16), "positive": area, "cfg": 1.0}
    expected = sample(apply(small.patcher, prompts[0], mask=HALF), **given)
    found, _ = on_device(lambda: sample(apply(there(torch.float16), prompts[0], mask=HALF), **given))
    assert difference(found, expected) < NEAR[torch.float16]


@pytest.mark.parametrize("dtype", NEAR)
def test_regions_with_texts_there_are_those_here(small: Twins, prompts: list[ImagePrompt], dtype: torch.dtype) -> None:
    def sampled(model: Any) -> Tensor:
        from comfyui_ip_adapter.nodes.host.regions import Prompted, Region
        from comfyui_ip_adapter.nodes.host.regions import apply as apply_regions

        one = Region(prompts[0], Used(0.7), HALF, cond(3), text_strength=0.8)
        other = Region(prompts[2], Used(0.4), 1 - HALF, cond(4), cond(5))
        found = apply_regions(Prompted(model, cond(1), cond(2)), (one, other))
        return sample(found.model, positive=found.positive, negative=found.negative)

    expected = sampled(small.patcher)
    found, waits = on_device(lambda: sampled(there(dtype)))
    assert waits == OPENING
    assert difference(found, expected) < NEAR[dtype]


@pytest.mark.parametrize("dtype", NEAR)
def test_steps_that_a_cache_skips_wait_for_nothing(
    small: Twins, prompts: list[ImagePrompt], dtype: torch.dtype
) -> None:
    def sampled(model: Any) -> Tensor:
        return sample(cached(apply(model, prompts[0], schedule=RISING)), cfg=1.0, steps=11)

    expected = sampled(small.patcher)
    found, waits = on_device(lambda: sampled(there(dtype)))
    assert waits == OPENING
    assert difference(found, expected) < NEAR[dtype]


@pytest.mark.parametrize("dtype", NEAR)
@pytest.mark.parametrize("show", ["influence", "share", "tokens"])
def test_a_map_there_is_that_here(small: Twins, prompts: list[ImagePrompt], show: str, dtype: torch.dtype) -> None:
    def seen(model: Any) -> dict[str, Tensor]:
        import comfy.model_management as memory

        both = combine_prompts(prompts[0], prompts[1], "side by side", (1.0, 0.6))
        model = apply(apply(model, both), prompts[2], 0.5, mask=HALF)
        memory.load_models_gpu([model])  # as the sampler left it
        return look(model, show)

    expected = seen(small.patcher)
    found, waits = on_device(lambda: seen(there(dtype)))
    assert set(waits) == {"attention_map.mean", "attention_map.levels", "attention_hook.shares"}
    assert waits.count("attention_hook.shares") == 1
    assert waits.count("attention_map.mean") == len(found) == len(expected)
    for name, one in found.items():
        assert difference(one, expected[name]) < NEAR[dtype]


def test_tensors_of_two_devices_in_one_operation_are_an_error(comfy: None) -> None:
    with pytest.MonkeyPatch.context() as patch, fake_cuda(patch):
        there, here = torch.ones(2, device=CUDA), torch.ones(2)
        assert there.is_cuda and not here.is_cuda
        with pytest.raises(RuntimeError, match="of the device and of the processor"):
            there + here
        with pytest.raises(RuntimeError, match="of the device and of the processor"):
            torch.nn.functional.scaled_dot_product_attention(there[None], there[None], here[None])
        assert (there + here.to(CUDA)).sum() == 4
