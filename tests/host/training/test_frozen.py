"""States of modules while an adapter is trained on them: inside as training needs them, afterwards as before."""

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.usefixtures("comfy")


def network() -> nn.Sequential:
    """Modules in mixed states."""
    made = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    made[0].requires_grad_(False)
    made[1].eval()
    return made


def state(model: nn.Module) -> tuple[list[bool], list[bool]]:
    """Which parameters have gradients, and which modules train."""
    return [one.requires_grad for one in model.parameters()], [module.training for module in model.modules()]


def test_a_frozen_model_is_given_back_as_it_was_even_after_an_error() -> None:
    from comfyui_ip_adapter.nodes.host.training.frozen import frozen

    model = network()
    before = state(model)

    def fail() -> None:
        with frozen(model):
            assert not any(flag for flags in state(model) for flag in flags)
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert state(model) == before
    assert before != ([False] * 6, [False] * 4)


def test_weights_of_inference_mode_pass_gradients_on_over_the_same_memory() -> None:
    from comfyui_ip_adapter.nodes.host.training.frozen import frozen

    with torch.inference_mode():
        model = nn.Linear(3, 1)
    at = model.weight.data_ptr()
    x = torch.ones(2, 3, requires_grad=True)
    with frozen(model):
        model(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad[0], model.weight[0])
    assert (model.weight.data_ptr(), model.weight.is_inference()) == (at, False)


def test_the_host_is_told_that_gradients_are_needed_and_only_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    import comfy.model_management as memory

    from comfyui_ip_adapter.nodes.host.training.frozen import in_training

    monkeypatch.setattr(memory, "in_training", False, raising=False)
    with in_training():
        assert memory.in_training
    assert not memory.in_training
