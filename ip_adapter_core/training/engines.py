"""What runs the optimizer: this process alone, or several through accelerate; mixed precision either way.

Half precision (fp16) makes small gradients 0, wherever they pass it: in the network that is trained, or in the frozen
model between it and the loss. Then the loss is scaled, and the gradients are scaled back before the step.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

_NEEDS_ACCELERATE = "Training in several processes needs accelerate; install it with `pip install accelerate`."


class Engine(Protocol):
    """One process of a training run. rank: its number of `processes`; the one of rank 0 writes files."""

    rank: int
    processes: int

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[Callable[[Tensor], Any], Any]:
        """What to call instead of the network, and what to step instead of the optimizer."""
        ...

    def computing(self, network: Any, last: bool) -> AbstractContextManager[Any]:
        """Around the forward and backward pass of a batch; last: the step's gradients are complete with it."""
        ...

    def autocast(self) -> AbstractContextManager[Any]:
        """Around what runs in the lower precision."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradients."""
        ...

    def step(self, network: nn.Module, optimizer: Any, clip: float) -> None:
        """Let the optimizer make its step, with gradients of at most this norm where clip is not 0."""
        ...

    def mean(self, loss: Tensor) -> float:
        """The mean of a number over all processes."""
        ...

    def any(self, mine: bool) -> bool:
        """Whether something is so in any process; every process asks at the same place."""
        ...

    def wait(self) -> None:
        """Until every process is here."""
        ...

    def scaler(self, base: torch.dtype) -> GradScaler | None:
        """What scales the loss where half precision is computed in, a part of the run's state; ask before `prepare`.

        base: what the frozen model computes in.
        """
        ...


class Alone:
    """A single process on a single device; dtype: bfloat16 or float16 for mixed precision."""

    rank, processes = 0, 1

    def __init__(self, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> None:
        self._kind = torch.device(device).type
        self._dtype = dtype
        self._scaler: GradScaler | None = None

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[Callable[[Tensor], Any], Any]:
        """Both as they are."""
        return network, optimizer

    def computing(self, network: Any, last: bool) -> AbstractContextManager[Any]:
        """Nothing to do."""
        return nullcontext()

    def autocast(self) -> AbstractContextManager[Any]:
        """torch's own."""
        return torch.autocast(self._kind, self._dtype) if self._dtype else nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradients, scaled where they pass half precision."""
        (self._scaler.scale(loss) if self._scaler else loss).backward()

    def step(self, network: nn.Module, optimizer: Optimizer, clip: float) -> None:
        """Step; one whose scaled gradients overflowed is left out."""
        if self._scaler:
            self._scaler.unscale_(optimizer)
        if clip:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
        if self._scaler:
            self._scaler.step(optimizer)
            self._scaler.update()
        else:
            optimizer.step()
        optimizer.zero_grad()

    def mean(self, loss: Tensor) -> float:
        """The number."""
        return loss.item()

    def any(self, mine: bool) -> bool:
        """Whether it is so here."""
        return mine

    def wait(self) -> None:
        """Nobody to wait for."""

    def scaler(self, base: torch.dtype) -> GradScaler | None:
        """torch's own."""
        if self._scaler is None and torch.float16 in (base, self._dtype):
            self._scaler = GradScaler(self._kind)
        return self._scaler


class Accelerated:
    """A process of `accelerate launch`; precision, devices and communication are accelerate's.

    accelerator: an `accelerate.Accelerator`; without one, what the launch configured. Raises ImportError without
    accelerate.
    """

    def __init__(self, accelerator: Any = None) -> None:
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise ImportError(_NEEDS_ACCELERATE) from error
        self._accelerator = Accelerator() if accelerator is None else accelerator
        self._accelerator.gradient_accumulation_steps = 1  # the training loop accumulates
        self._scaler: GradScaler | None = None  # ours; in fp16 accelerate has its own
        self.rank: int = self._accelerator.process_index
        self.processes: int = self._accelerator.num_processes

    @property
    def device(self) -> torch.device:
        """Where this process computes; the base model must be there."""
        return self._accelerator.device

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[Callable[[Tensor], Any], Any]:
        """Both wrapped, so that gradients are averaged over the processes."""
        return self._accelerator.prepare(network, optimizer)

    def computing(self, network: Any, last: bool) -> AbstractContextManager[Any]:
        """Exchange gradients only when a step's are complete."""
        return nullcontext() if last else self._accelerator.no_sync(network)

    def autocast(self) -> AbstractContextManager[Any]:
        """As launched."""
        return self._accelerator.autocast()

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradients."""
        self._accelerator.backward(loss)

    def step(self, network: nn.Module, optimizer: Any, clip: float) -> None:
        """Step in every process alike."""
        if clip:
            if self._scaler:  # accelerate scales back before it clips in its own fp16 only
                self._scaler.unscale_(optimizer.optimizer)
            self._accelerator.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()

    def mean(self, loss: Tensor) -> float:
        """The mean over all processes."""
        return self._accelerator.reduce(loss.detach(), reduction="mean").item()

    def any(self, mine: bool) -> bool:
        """Whether it is so in any process."""
        if self.processes == 1:
            return mine
        return self._accelerator.reduce(torch.tensor(float(mine), device=self.device), reduction="sum").item() > 0

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()

    def scaler(self, base: torch.dtype) -> GradScaler | None:
        """accelerate's, which it has in fp16; else one that it is given, for a base in half precision."""
        if self._accelerator.scaler is None and base is torch.float16:
            self._scaler = self._accelerator.scaler = GradScaler(self.device.type)
        return self._accelerator.scaler
