"""A training step on a CUDA device that is not there: no devices are mixed, and nothing is read back.

It goes as far as the scaled loss: torch's backward pass asks the card for its streams, also where tensors are fake.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.training import loop
from comfyui_ip_adapter.ip_adapter_core.training.engines import Alone
from comfyui_ip_adapter.ip_adapter_core.training.examples import TensorExamples
from comfyui_ip_adapter.ip_adapter_core.training.pictures import NUMBERS
from devices.cuda_without_numbers import CUDA, fake_cuda, onto_cuda
from training.beginnings import QUICK, beginning, sdxl, tower

pytestmark = pytest.mark.usefixtures("comfy")


class Unread(Alone):
    """Does all that a step does up to the backward pass, but to read the loss of the step at its end."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__(CUDA, dtype)
        self.losses: list[Tensor] = []

    def backward(self, loss: Tensor) -> None:
        self.losses.append(self._scaler.scale(loss) if self._scaler else loss)

    def mean(self, loss: Tensor) -> float:
        assert loss.device.type == "cuda"
        return 1.0

    def step(self, network: nn.Module, optimizer: Any, clip: float) -> None:
        """There are no gradients to step with."""


class InOrder:
    """Examples one after another: the real order is drawn in tensors that have values."""

    def __init__(self, examples: int, seed: int) -> None:
        self._examples = examples

    def indices(self, first: int, count: int) -> list[int]:
        return [number % self._examples for number in range(first, first + count)]


def examples() -> TensorExamples:
    """Pictures for SDXL, with their sizes."""
    plain = tower(48, pooled=True, size=16)
    numbers = {name: torch.full((4,), 64, dtype=torch.int32) for name in NUMBERS}
    return TensorExamples(plain.rows(range(4)) | numbers, plain.nulls)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize(
    ("base_in", "precision"),
    [(torch.float16, None), (torch.bfloat16, None), (torch.bfloat16, torch.bfloat16), (torch.float16, torch.float16)],
)
def test_a_step_runs_on_the_device_alone(
    base_in: torch.dtype, precision: torch.dtype | None, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comfyui_ip_adapter.nodes.host.training import base_model

    model = sdxl()
    adapter = beginning(model)
    monkeypatch.setattr(base_model, "_load", lambda patcher: patcher)  # the host would ask the card for its memory
    monkeypatch.setattr(loop, "DataOrder", InOrder)
    engine = Unread(precision)
    with fake_cuda(monkeypatch):
        onto_cuda(model.model.diffusion_model, base_in)
        onto_cuda(model.model.model_sampling)
        onto_cuda(adapter)
        monkeypatch.setattr(adapter, "to", lambda *given: adapter)  # it is there already; torch cannot swap fake ones
        model.model.diffusion_model.dtype, model.load_device = base_in, CUDA
        # What reads the number of a fake tensor on the CPU reads 64, the only number there is.
        monkeypatch.setattr(base_model, "_number", lambda value: 64.0 if value.device.type == "cpu" else value.item())
        with base_model.HostBase(model, checkpointing) as base:
            loop.train(adapter, base, examples(), replace(QUICK, steps=1, clip=0.0), engine=engine)
    (loss,) = engine.losses
    assert (loss.device.type, loss.dtype, loss.requires_grad) == ("cuda", torch.float32, True)
    assert bool(engine.scaler(base_in)) is (torch.float16 in (base_in, precision))
