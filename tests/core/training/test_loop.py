"""Runs of training without a host: what they see, what comes out, and how they end."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.layers.layout import Geometry
from comfyui_ip_adapter.ip_adapter_core.training import examples as given
from comfyui_ip_adapter.ip_adapter_core.training.draws import DataOrder, DataPosition, draw
from comfyui_ip_adapter.ip_adapter_core.training.engines import Alone
from comfyui_ip_adapter.ip_adapter_core.training.fresh import fresh
from comfyui_ip_adapter.ip_adapter_core.training.loop import train
from comfyui_ip_adapter.ip_adapter_core.training.settings import Settings
from training.parts import FEATURES, QUICK, ToyBase, base_weights, examples, network, run, same


@pytest.mark.parametrize("around", [nullcontext(), torch.autocast("cpu", torch.bfloat16)], ids=["plain", "autocast"])
def test_the_loss_falls_under_a_callers_autocast_too(around: AbstractContextManager[Any]) -> None:
    with around:
        losses = run(
            replace(QUICK, steps=200, learning_rate=0.02, batch=12, drop_text=0, drop_image=0, drop_both=0)
        ).losses
    assert len(losses) == 200
    assert sum(losses[-20:]) < 0.4 * sum(losses[:20])


def test_training_sees_the_examples_and_their_nulls() -> None:
    base = ToyBase()
    train(network(), base, examples(), replace(QUICK, drop_text=0.5, drop_image=0, drop_both=0))
    texts = torch.cat([call["context"] for call in base.seen]).mean(dim=(1, 2))
    assert {bool(text.abs() < 1e-6) for text in texts} == {True, False}


def test_what_counts_is_no_text_and_makes_the_loss_alone() -> None:
    base, still = ToyBase(), replace(QUICK, learning_rate=1e-12)
    plain = train(network(), ToyBase(), examples(), still).losses
    assert train(network(), base, examples(counts=2.0), still).losses == pytest.approx([2 * loss for loss in plain])
    assert all("counts" not in call for call in base.seen)


def test_an_average_is_what_comes_out() -> None:
    settings = replace(QUICK, ema=0.9)
    trained = network()
    outcome = train(trained, ToyBase(), examples(), settings)
    assert same(trained, run().network)
    assert not same(outcome.network, trained)
    assert list(outcome.network.state_dict()) == list(trained.state_dict())


def test_accumulated_batches_are_one_large_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same random numbers, two batches of 4 are a batch of 8."""
    large = replace(QUICK, steps=1, batch=8, drop_text=0, drop_image=0, drop_both=0)
    module = "comfyui_ip_adapter.ip_adapter_core.training.loop.draw"

    def still(settings: Settings, place: DataPosition, latents: Any) -> Any:
        drawn = draw(settings, DataPosition(0, 0), latents)
        return drawn._replace(shares=drawn.shares * 0, noise=drawn.noise * 0)

    monkeypatch.setattr(module, still)
    whole, halves = Recording(), Recording()
    one, two = run(large, engine=whole), run(replace(large, batch=4, accumulate=2), engine=halves)
    assert two.losses == pytest.approx(one.losses)
    torch.testing.assert_close(halves.gradients, whole.gradients)


class Recording(Alone):
    """Remembers the gradients of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.gradients: list[Tensor] = []

    def step(self, network: nn.Module, optimizer: Any, clip: float) -> None:
        self.gradients += [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
        super().step(network, optimizer, clip)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_loss_that_is_no_number_stops_and_leaves_the_last_good_state(broken: float, tmp_path: Path) -> None:
    class Breaking(ToyBase):
        def denoised(self, *given: Any) -> Tensor:
            return super().denoised(*given) * (broken if len(self.seen) == 5 else 1)

    with pytest.raises(ValueError, match="the loss of step 5 is"):
        train(network(), Breaking(), examples(), QUICK, folder=tmp_path)
    kept = run(replace(QUICK, steps=4), folder=tmp_path)
    assert kept.steps == 4
    assert same(kept.network, run(replace(QUICK, steps=4)).network)


def test_a_network_for_inference_is_refused() -> None:
    with pytest.raises(ValueError, match="for inference only"):
        train(network().requires_grad_(False), ToyBase(), examples(), QUICK)
    with torch.inference_mode():
        made = network()
        with pytest.raises(ValueError, match="for inference only"):
            train(made, ToyBase(), examples(), QUICK)


def test_training_works_in_inference_mode_as_outside_it() -> None:
    geometry = Geometry(48, (32,))
    with torch.inference_mode():
        inside = train(fresh_colours(geometry), ToyBase(), examples(), QUICK)
    assert same(inside.network, train(fresh_colours(geometry), ToyBase(), examples(), QUICK).network)


def fresh_colours(geometry: Geometry) -> nn.Module:
    """A network with a fresh adapter inside, that speaks to the toy base."""

    class Colours(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.adapter = fresh("base", geometry, FEATURES, base_weights(geometry))

        def forward(self, features: Tensor) -> Tensor:
            return self.adapter(features)[0].values.mean(dim=1)[:, :4]

    return Colours()


def test_a_run_that_the_host_interrupts_in_the_middle_of_a_step_keeps_the_steps_before(tmp_path: Path) -> None:
    class Interrupted(BaseException):
        """As ComfyUI's, which any layer of a model may raise."""

    class Interrupting(ToyBase):
        def denoised(self, *given: Any) -> Tensor:
            if len(self.seen) == 3:
                raise Interrupted
            return super().denoised(*given)

    rarely = replace(QUICK, save_every=100)
    with pytest.raises(Interrupted):
        train(network(), Interrupting(), examples(), rarely, folder=tmp_path)
    resumed_at: list[int] = []
    resumed = run(rarely, folder=tmp_path, on_step=lambda step: resumed_at.append(step.number))
    assert resumed_at == [4, 5, 6]
    assert resumed.losses == run(rarely).losses


def test_every_example_comes_once_per_epoch_when_batches_are_accumulated() -> None:
    class Listening(given.TensorExamples):
        """Remembers which examples were asked for, but for the first, which is looked at beforehand."""

        asked: ClassVar[list[int]] = []

        def rows(self, indices: Sequence[int]) -> given.Rows:
            self.asked += indices
            return super().rows(indices)

    plain = examples()
    listening = Listening(plain.rows(range(12)), plain.nulls)
    train(network(), ToyBase(), listening, replace(QUICK, steps=4, batch=2, accumulate=3))
    asked = listening.asked[1:]
    assert asked == DataOrder(12, QUICK.seed).indices(0, 24)
    assert sorted(asked[:12]) == sorted(asked[12:]) == list(range(12))
