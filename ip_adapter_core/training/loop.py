"""The training loop: a network that makes image prompts learns from a frozen model's error."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from . import examples as given
from . import objective, state
from .draws import DataPosition, Order, draw
from .engines import Alone, Engine
from .examples import FEATURES, LATENTS, Examples
from .settings import Settings


class Base(Protocol):
    """A frozen diffusion model as training sees it. prediction: a row of `objective.OBJECTIVES`."""

    @property
    def prediction(self) -> str: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        ...

    def sigmas(self, shares: Tensor) -> Tensor:
        """Noise levels of shares of the training time in [0, 1), (rows) each."""
        ...

    def noised(self, latents: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
        """Latents at noise levels, (rows, channels, height, width)."""
        ...

    def denoised(self, noisy: Tensor, sigmas: Tensor, text: Mapping[str, Tensor], image: Any) -> Tensor:
        """The model's estimate of the clean latents, with gradients towards `image`.

        text: the rows of the examples that are neither latents nor features. image: what the network gave.
        """
        ...


class Step(NamedTuple):
    """A step that was made: its number from 1, of how many, its loss, and the learning rate."""

    number: int
    of: int
    loss: float
    rate: float


class EndedElsewhere(KeyboardInterrupt):
    """Another process of the same training has ended it."""


class Outcome(NamedTuple):
    """What a training run gave: the loss of every step, the network to use, and how many steps it has made."""

    losses: list[float]
    network: nn.Module
    steps: int


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

    folder: where the state is kept; a run whose state is there goes on, bit for bit as if it had never stopped.
    on_step: called in every process; what it raises in any of them ends the training in all of them, after the same
    step and once the state is saved, with EndedElsewhere in the others. Raises ValueError when settings, examples or a
    kept state cannot be meant, and when the loss is no number any more.
    """
    settings.check()
    given.check(examples)
    engine = engine or Alone(base.device)
    lasting = settings.lasting() | {"examples": len(examples)} | _pictures(examples)
    trainee = state.begin(network.to(base.device, torch.float32).train(), settings, engine.scaler(base.dtype))
    if folder:
        state.resume(folder, trainee, lasting)
    course = _course(trainee, base, examples, settings, engine)
    for number in range(len(trainee.losses), settings.steps):
        with _kept_when_interrupted(lambda: _keep(folder, engine, trainee, lasting)):
            step = course.step(number, trainee)
        _tell(step, on_step, lambda: _keep(folder, engine, trainee, lasting), settings, engine)
    engine.wait()
    return Outcome(trainee.losses, trainee.result, len(trainee.losses))


@dataclass(frozen=True)
class Course:
    """What every step of a run needs; network and optimizer are the engine's."""

    network: Callable[[Tensor], Any]
    optimizer: Any
    base: Base
    examples: Examples
    settings: Settings
    engine: Engine
    order: Order

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

    def _part(self, place: DataPosition) -> Tensor:
        """Add the gradients of a batch, and tell its loss."""
        last = place.part == self.settings.accumulate - 1
        with self.engine.computing(self.network, last):
            loss = self._loss(place)
            self.engine.backward(loss / self.settings.accumulate)
        return loss.detach()

    def _loss(self, place: DataPosition) -> Tensor:
        """The objective on this process's rows of the batch at a place."""
        mine = self._mine()
        first = (place.step * self.settings.accumulate + place.part) * self.settings.batch
        rows = self.examples.rows(self.order.indices(first, self.settings.batch)[mine])
        drawn = draw(self.settings, place, tuple(rows[LATENTS].shape[1:])).part(mine)
        kept = given.without_dropped(rows, self.examples.nulls, drawn.drops)
        text = {name: self._placed(tensor) for name, tensor in kept.items()}
        latents, features = text.pop(LATENTS), text.pop(FEATURES)
        sigmas = self.base.sigmas(self._placed(drawn.shares))
        noisy = self.base.noised(latents, self._placed(drawn.noise), sigmas)
        with self.engine.autocast():
            image = self.network(features)
        return objective.loss(self.base.prediction, self.base.denoised(noisy, sigmas, text, image), latents, sigmas)

    def _mine(self) -> slice:
        count = self.settings.batch // self.engine.processes
        return slice(self.engine.rank * count, (self.engine.rank + 1) * count)

    def _placed(self, tensor: Tensor) -> Tensor:
        """In fp32 on the base's device; a copy, since autograd takes no tensor made in inference mode.

        Whole numbers stay: the base reads them on the CPU, and asking a device for them would wait for it.
        """
        if not tensor.is_floating_point():
            return tensor
        return tensor.to(self.base.device, torch.float32, copy=True)


def _course(trainee: state.Trainee, base: Base, examples: Examples, settings: Settings, engine: Engine) -> Course:
    if settings.batch % engine.processes:
        raise ValueError(f"A batch of {settings.batch} cannot be shared by {engine.processes} processes alike.")
    network, optimizer = engine.prepare(trainee.network, trainee.optimizer)
    return Course(network, optimizer, base, examples, settings, engine, Order(len(examples), settings.seed))


@contextmanager
def _kept_when_interrupted(keep: Callable[[], None]) -> Iterator[None]:
    """Keep the state before a step that a host interrupts halfway, as ComfyUI does in any layer of its models.

    A loss that is no number is not kept: the next attempt needs another rate. Nor is what Ctrl-C may have torn.
    """
    try:
        yield
    except (ValueError, KeyboardInterrupt):
        raise
    except BaseException:
        keep()
        raise


def _tell(
    step: Step, on_step: Callable[[Step], None] | None, keep: Callable[[], None], settings: Settings, engine: Engine
) -> None:
    """Report a step, and keep the state when it is time or when the report is answered with an exception anywhere."""
    raised = _answer(step, on_step)
    ended = engine.any(raised is not None)
    if ended or step.number % settings.save_every == 0 or step.number == step.of:
        keep()
    if ended:
        engine.wait()  # a launcher ends all processes as soon as one leaves, also one that is writing the state
        raise raised or EndedElsewhere


def _answer(step: Step, on_step: Callable[[Step], None] | None) -> BaseException | None:
    try:
        if on_step:
            on_step(step)
    except BaseException as error:  # also what ends a program: the other processes must hear of it first
        return error
    return None


def _pictures(examples: Examples) -> dict[str, str]:
    return {state.PICTURES: examples.identity} if examples.identity else {}


def _keep(folder: Path | None, engine: Engine, trainee: state.Trainee, lasting: state.Lasting) -> None:
    if folder and engine.rank == 0:
        state.save(folder, trainee, lasting)
