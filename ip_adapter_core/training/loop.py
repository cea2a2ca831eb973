"""The training loop: a network that makes image prompts learns from the error of a frozen diffusion model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import examples as example_rows
from . import objective, state
from .draws import DataOrder, DataPosition, draw
from .engines import Alone, Engine
from .examples import COUNTS, FEATURES, LATENTS, Examples
from .interface import Base, Outcome, Step
from .settings import Settings


class EndedElsewhere(KeyboardInterrupt):
    """Another process of the same training has ended it."""


@torch.inference_mode(False)
@torch.enable_grad()
def train(
    network: nn.Module,
    base: Base,
    examples: Examples,
    settings: Settings,
    *,
    engine: Engine | None = None,
    folder: Path | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Outcome:
    """Train a network in place, in fp32; network(features) is what the base takes for an image.

    folder: of the run's state; a run whose state is there continues, bit for bit as if it had never stopped. on_step:
    called in every process; when it raises in one of them, all processes save the state and end after this step, the
    others with EndedElsewhere. Raises ValueError when settings, examples or a saved state are not valid, and when the
    loss becomes infinite or NaN.
    """
    settings.check()
    example_rows.check(examples)
    engine = engine or Alone(base.device)
    lasting = settings.lasting() | {"examples": len(examples)} | _pictures(examples)
    trainee = state.begin(network.to(base.device, torch.float32).train(), settings, engine.scaler(base.dtype))
    if folder:
        state.resume(folder, trainee, lasting)
    run = _run(trainee, base, examples, settings, engine)
    for number in range(len(trainee.losses), settings.steps):
        with _saving_on_interrupt(lambda: _save(folder, engine, trainee, lasting)):
            step = run.step(number, trainee)
        _report(step, on_step, lambda: _save(folder, engine, trainee, lasting), settings, engine)
    engine.wait()
    return Outcome(trainee.losses, trainee.result, len(trainee.losses))


@dataclass(frozen=True)
class TrainingRun:
    """What every step of a run needs.

    network: as the engine prepared it.
    optimizer: as the engine prepared it.
    base: the frozen model.
    examples: what the network learns from.
    settings: of the run.
    engine: what runs the optimizer.
    order: of the examples.
    """

    network: Callable[[Tensor], Any]
    optimizer: Any
    base: Base
    examples: Examples
    settings: Settings
    engine: Engine
    order: DataOrder

    def step(self, number: int, trainee: state.Trainee) -> Step:
        """Make one step of the optimizer. Raises ValueError instead of a step on a loss that is no number."""
        parts = [self._part(DataPosition(number, part)) for part in range(self.settings.accumulate)]
        loss = self.engine.mean(torch.stack(parts).mean())
        if not math.isfinite(loss):
            raise ValueError(
                f"Train at a lower learning_rate than {self.settings.learning_rate}; "
                f"the loss of step {number + 1} is {loss}."
            )
        rate = self.settings.rate_at(number)
        for group in trainee.optimizer.param_groups:
            group["lr"] = rate
        self.engine.step(trainee.network, self.optimizer, self.settings.clip)
        torch.clear_autocast_cache()  # a caller's autocast around the whole run would keep using the old weights
        if trainee.average is not None:
            trainee.average.update_parameters(trainee.network)
        trainee.losses.append(loss)
        return Step(number + 1, self.settings.steps, loss, rate)

    def _part(self, position: DataPosition) -> Tensor:
        """Add the gradients of a batch, and return its loss."""
        last = position.part == self.settings.accumulate - 1
        with self.engine.computing(self.network, last):
            loss = self._loss(position)
            self.engine.backward(loss / self.settings.accumulate)
        return loss.detach()

    def _loss(self, position: DataPosition) -> Tensor:
        """The objective on this process's rows of a batch."""
        mine = self._own_rows()
        first = (position.step * self.settings.accumulate + position.part) * self.settings.batch
        rows = self.examples.rows(self.order.indices(first, self.settings.batch)[mine])
        drawn = draw(self.settings, position, tuple(rows[LATENTS].shape[1:])).part(mine)
        conditioned = example_rows.without_dropped(rows, self.examples.nulls, drawn.drops)
        text = {name: self._move(tensor) for name, tensor in conditioned.items()}
        latents, features, counts = text.pop(LATENTS), text.pop(FEATURES), text.pop(COUNTS, None)
        sigmas = self.base.sigmas(self._move(drawn.shares))
        noisy = self.base.noised(latents, self._move(drawn.noise), sigmas)
        with self.engine.autocast():
            image = self.network(features)
        denoised = self.base.denoised(noisy, sigmas, text, image)
        return objective.loss(self.base.prediction, denoised, latents, sigmas, counts)

    def _own_rows(self) -> slice:
        count = self.settings.batch // self.engine.processes
        return slice(self.engine.rank * count, (self.engine.rank + 1) * count)

    def _move(self, tensor: Tensor) -> Tensor:
        """A copy in fp32 on the base's device; a copy because autograd takes no tensor that inference mode made.

        Whole numbers stay on the CPU, where the base reads them; reading them from a device would wait for it.
        """
        if not tensor.is_floating_point():
            return tensor
        return tensor.to(self.base.device, torch.float32, copy=True)


def _run(trainee: state.Trainee, base: Base, examples: Examples, settings: Settings, engine: Engine) -> TrainingRun:
    if settings.batch % engine.processes:
        raise ValueError(
            f"Set batch to a multiple of {engine.processes}; {settings.batch} cannot be shared by so "
            "many processes alike."
        )
    network, optimizer = engine.prepare(trainee.network, trainee.optimizer)
    return TrainingRun(network, optimizer, base, examples, settings, engine, DataOrder(len(examples), settings.seed))


@contextmanager
def _saving_on_interrupt(save: Callable[[], None]) -> Iterator[None]:
    """Save the state before a step that a host interrupts halfway, as ComfyUI may in any layer of its models.

    It is not saved after a loss that is no number, because the next attempt needs another learning rate, nor after
    Ctrl-C, which may have interrupted a change of the weights.
    """
    try:
        yield
    except (ValueError, KeyboardInterrupt):
        raise
    except BaseException:
        save()
        raise


def _report(
    step: Step, on_step: Callable[[Step], None] | None, save: Callable[[], None], settings: Settings, engine: Engine
) -> None:
    """Report a step; save the state when it is time for it, or when on_step raises in any process."""
    raised = _answer(step, on_step)
    ended = engine.any(raised is not None)
    if ended or step.number % settings.save_every == 0 or step.number == step.of:
        save()
    if ended:
        engine.wait()  # a launcher ends all processes as soon as one leaves, even one that is still writing the state
        raise raised or EndedElsewhere


def _answer(step: Step, on_step: Callable[[Step], None] | None) -> BaseException | None:
    """The exception that on_step raises; None when it raises none."""
    try:
        if on_step:
            on_step(step)
    except BaseException as error:  # also what ends a program: the other processes must hear of it first
        return error
    return None


def _pictures(examples: Examples) -> dict[str, str]:
    return {state.PICTURES: examples.identity} if examples.identity else {}


def _save(folder: Path | None, engine: Engine, trainee: state.Trainee, lasting: state.Lasting) -> None:
    if folder and engine.rank == 0:
        state.save(folder, trainee, lasting)
