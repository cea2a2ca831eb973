"""Tests of model_identity.py: models are told apart however little they differ, wherever they are loaded."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("comfy")

WEIGHT = "0.weight"


def model(dtype: torch.dtype = torch.float32, seed: int = 0) -> Any:
    """Something with a patcher, of weights that half precision holds."""
    import comfy.model_patcher

    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6)).half().to(dtype)
    network.register_buffer("positions", torch.arange(3))
    cpu = torch.device("cpu")
    return SimpleNamespace(patcher=comfy.model_patcher.ModelPatcher(network, load_device=cpu, offload_device=cpu))


def patched(given: Any, patch: Any, strength: float) -> Any:
    clone = given.patcher.clone()
    assert clone.add_patches({WEIGHT: patch}, strength) == [WEIGHT]
    return SimpleNamespace(patcher=clone)


def low_rank(scale: float = 1.0) -> Any:
    from comfy.weight_adapter.lora import LoRAAdapter

    return LoRAAdapter({WEIGHT}, (torch.full((6, 1), scale), torch.ones(1, 6), None, None, None, None))


def identity(*models: Any) -> str:
    from comfyui_ip_adapter.nodes.host.training.model_identity import identity

    return identity(*models)


def test_the_same_weights_are_one_model_in_every_precision_and_another_seed_is_another() -> None:
    assert identity(model()) == identity(model(torch.float16)) == identity(model(torch.float64))
    assert identity(model()) != identity(model(seed=1))


def test_one_changed_weight_makes_another_model() -> None:
    other = model()
    with torch.no_grad():
        other.patcher.model[0].weight[5, 5] += 0.01
    assert identity(other) != identity(model())


def test_a_weak_lora_makes_another_model_and_so_do_its_strength_and_its_weights() -> None:
    plain = model()
    patches: list[tuple[Any, float]] = [
        (low_rank(), 1e-4),
        (low_rank(), 2e-4),
        (low_rank(1.5), 1e-4),
        ((torch.ones(6, 6),), 1e-4),
    ]
    found = [identity(plain), *(identity(patched(plain, *patch)) for patch in patches)]
    assert len(set(found)) == len(found)
    assert identity(patched(model(), low_rank(), 1e-4)) == found[1]


def test_a_model_is_the_same_while_its_patches_are_in_its_weights() -> None:
    with_lora = patched(model(), low_rank(), 0.5)
    before, weight = identity(with_lora), with_lora.patcher.model[0].weight.clone()
    with_lora.patcher.patch_weight_to_device(WEIGHT)
    assert not torch.equal(with_lora.patcher.model[0].weight, weight)
    assert identity(with_lora) == before


def test_which_models_there_are_and_in_which_place_counts() -> None:
    one, other = model(), model(seed=1)
    assert len({identity(one), identity(other), identity(one, other), identity(other, one)}) == 4
    assert identity(SimpleNamespace()) == identity()  # of another pack: what it says must tell


def test_weights_of_every_kind_of_number_count() -> None:
    def of(values: Tensor) -> str:
        made = model()
        made.patcher.model.positions = values
        return identity(made)

    kinds = [torch.arange(3), torch.tensor(5), torch.tensor([True, False]), torch.ones(3, dtype=torch.bfloat16)]
    assert len({of(values) for values in kinds}) == len(kinds)
