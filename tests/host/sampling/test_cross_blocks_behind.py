"""Image prompts behind the blocks of Anima: equal to the formula of LuciferTC's adapters, block by block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy, deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from anima_twins import (
    AnimaTwins,
    anima_adapter,
    anima_call,
    hidden,
    outer_adapter,
    plain_behind,
    plain_images,
    states,
)
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt, image_prompt
from fabricate import adapters
from sampled import apply, difference, sample
from twins import TOLERANCE, error

pytestmark = [pytest.mark.usefixtures("comfy"), pytest.mark.filterwarnings("ignore:__array_wrap__")]

Named = dict[str, Tensor]


@pytest.fixture(scope="module")
def file() -> Named:
    """An adapter under the names of LuciferTC."""
    return adapters.as_lucifer(adapters.flat(outer_adapter()))


@pytest.fixture(scope="module")
def inner_file() -> Named:
    """An adapter that acts inside the blocks, under the names of anima_lora."""
    return adapters.as_anima(adapters.flat(anima_adapter()))


def ours(file: Named, folder: Path, cond: Tensor) -> ImagePrompt:
    """The prompt of a file with LuciferTC's names."""
    save_file({name: value.contiguous() for name, value in file.items()}, folder / "adapter.safetensors")
    return image_prompt(load(folder / "adapter.safetensors"), (cond,), (cond,))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 24), (15, 16)])
@pytest.mark.parametrize(("weight", "sigma"), [(1.0, 0.7), (0.4, 0.7), (1.0, 0.05)])
def test_prompted_models_agree(
    anima: AnimaTwins, file: Named, tmp_path: Path, height: int, width: int, weight: float, sigma: float
) -> None:
    given, cond = anima_call(2, height, width, sigma), states()
    found = anima.call_comfy(given, apply(anima.patcher, ours(file, tmp_path, cond), weight), cond_or_uncond=[0])
    expected = anima.call_with(given, behind=plain_behind(file, cond.expand(2, -1, -1), weight))
    assert error(found, expected) < TOLERANCE
    assert error(found, anima.call_comfy(given, anima.patcher)) > 0.05


@pytest.mark.parametrize("order", [[0], [1], [1, 0], [0, 1, 0]])
def test_the_negative_side_reads_nothing(anima: AnimaTwins, file: Named, tmp_path: Path, order: list[int]) -> None:
    given, cond = anima_call(2 * len(order)), states()
    read = plain_behind(file, cond.expand(2 * len(order), -1, -1))
    acts = torch.tensor([float(side == 0) for side in order for _ in range(2)])[:, None, None]
    found = anima.call_comfy(given, apply(anima.patcher, ours(file, tmp_path, cond)), cond_or_uncond=order)
    expected = anima.call_with(given, behind=lambda number, q, time: acts * read(number, q, time))
    assert error(found, expected) < TOLERANCE


def test_adapters_of_both_authors_act_together(
    anima: AnimaTwins, file: Named, tmp_path: Path, inner_file: Named
) -> None:
    given, cond, inner = anima_call(), states(), hidden()
    save_file({name: value.contiguous() for name, value in inner_file.items()}, tmp_path / "inner.safetensors")
    inside = image_prompt(load(tmp_path / "inner.safetensors"), (inner,), (inner,))
    both = apply(apply(anima.patcher, ours(file, tmp_path, cond)), inside)
    found = anima.call_comfy(given, both, cond_or_uncond=[0])
    expected = anima.call_with(
        given,
        plain_images(inner_file, inner.expand(2, -1, -1)),
        plain_behind(file, cond.expand(2, -1, -1)),
    )
    assert error(found, expected) < TOLERANCE


WRONG: dict[str, Callable[[Named], Named]] = {
    "without gates": lambda file: (
        file | {n: torch.zeros_like(v) for n, v in file.items() if n.endswith("adaln_ip.1.weight")}
    ),
    "without biases": lambda file: file | {n: torch.zeros_like(v) for n, v in file.items() if n.endswith("proj.bias")},
    "keys and values exchanged": lambda file: (
        file | {n.replace("ip_k_", "ip_v_"): v for n, v in file.items() if ".ip_k" in n}
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_another_formula_gives_another_picture(anima: AnimaTwins, file: Named, tmp_path: Path, name: str) -> None:
    given, cond = anima_call(), states()
    found = anima.call_comfy(given, apply(anima.patcher, ours(file, tmp_path, cond)), cond_or_uncond=[0])
    wrong = anima.call_with(given, behind=plain_behind(WRONG[name](file), cond.expand(2, -1, -1)))
    assert error(found, wrong) > 100 * TOLERANCE


def test_the_lora_changes_the_cross_attentions_of_the_model(anima: AnimaTwins, tmp_path: Path) -> None:
    file = adapters.as_lucifer(adapters.flat(outer_adapter(rank=4)))
    given, cond = anima_call(), states()
    prompted = apply(anima.patcher, ours(file, tmp_path, cond))
    with loaded(prompted):
        found = anima.call_comfy(given, prompted, cond_or_uncond=[0])
    expected = with_lora(anima, file).call_with(given, behind=plain_behind(file, cond.expand(2, -1, -1)))
    assert error(found, expected) < TOLERANCE
    assert error(found, anima.call_with(given, behind=plain_behind(file, cond.expand(2, -1, -1)))) > 0.01


def test_a_lora_beside_cross_attentions_is_left_out(anima: AnimaTwins, file: Named, tmp_path: Path) -> None:
    lora = "lora.base_model.model.blocks.0"
    more = {
        f"{lora}.{name}.lora_{half}.weight": torch.ones(1)
        for name in ("self_attn.q_proj", "mlp.layer1")
        for half in "AB"
    }
    assert ours({**file, **more}, tmp_path, states()).lora is None


def with_lora(anima: AnimaTwins, file: Named) -> AnimaTwins:
    """Twins whose copy has the products of a LoRA in its weights."""
    changed = copy(anima)
    changed.reference = deepcopy(anima.reference)
    for name, down in file.items():
        if name.endswith(".lora_A.weight"):
            weight = name.removeprefix("lora.base_model.model.").replace(".lora_A", "")
            changed.reference.get_parameter(weight).data += file[name.replace("lora_A", "lora_B")] @ down
    return changed


@contextmanager
def loaded(model: Any) -> Iterator[None]:
    """The MODEL's own patches in its weights."""
    model.patch_model()
    try:
        yield
    finally:
        model.unpatch_model()


def test_the_time_is_that_of_the_model_that_samples(anima: AnimaTwins, file: Named, tmp_path: Path) -> None:
    prompted = apply(anima.patcher, ours(file, tmp_path, states()), 1.0)
    twin = AnimaTwins().patcher
    twin.model.load_state_dict(anima.patcher.model.state_dict())
    other = prompted.clone(model_override=twin.get_clone_model_override())
    before = sample(other, cfg=1.0, steps=2)
    (weight,) = anima.patcher.model.diffusion_model.t_embedding_norm.parameters()
    kept = weight.data.clone()
    try:
        weight.data.zero_()
        assert torch.equal(sample(other, cfg=1.0, steps=2), before)
    finally:
        weight.data.copy_(kept)


def test_every_sampler_tells_the_noise_level_that_it_calls_at(
    anima: AnimaTwins, file: Named, tmp_path: Path, steps: ModuleType, instants: list[Any]
) -> None:
    import comfy.samplers

    prompted = apply(anima.patcher, ours(file, tmp_path, states()), 1.0)
    names = [name.removeprefix("sample_") for name in steps._MAX_CALLS]
    for name in (name for name in names if name in comfy.samplers.KSampler.SAMPLERS):
        instants.clear()
        sample(prompted, cfg=1.0, steps=3, sampler=name)
        assert instants, name
        for _, true, found in instants:
            assert found.level == pytest.approx(true, rel=1e-6), name


def test_no_hook_stays_on_the_blocks(anima: AnimaTwins, file: Named, tmp_path: Path) -> None:
    prompted, before = apply(anima.patcher, ours(file, tmp_path, states())), sample(anima.patcher)
    assert difference(sample(prompted), before) > 1e-3
    assert not any(block._forward_hooks for block in anima.patcher.model.diffusion_model.blocks)
    assert torch.equal(sample(anima.patcher), before)


def test_a_balance_is_refused(anima: AnimaTwins, file: Named, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'^Set balance to "off", and choose a weight; images are added behind'):
        apply(anima.patcher, ours(file, tmp_path, states()), balance="cap")
