"""What runs the optimizer: this process alone, or several processes through accelerate; both know mixed precision.

Half precision (fp16) turns small gradients into 0, in the trained network and in the frozen model between it and the
loss. With fp16 in either, the loss is scaled up, and the gradients are scaled back before the step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

_NEEDS_ACCELERATE = "Install accelerate with `pip install accelerate`; training in several processes needs it."
# Seconds for the threads of torch's group of processes to drop what they exchanged last. DistributedDataParallel keeps
# them alive after the group's end, and one that drops a tensor while the interpreter ends aborts the process.
_LAST_TENSORS = 0.5


class Engine(Protocol):
    """One process of a training run.

    rank: its number, from 0; the process of rank 0 writes files.
    processes: number of processes.
    """

    rank: int
    processes: int

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[Callable[[Tensor], Any], Any]:
        """The wrapped network and optimizer, which are used instead."""
        ...

    def computing(self, network: Any, last: bool) -> AbstractContextManager[Any]:
        """The context of a batch's forward and backward pass; last: whether it is the last batch of its step."""
        ...

    def autocast(self) -> AbstractContextManager[Any]:
        """The context of computations in the lower precision."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradients."""
        ...

    def step(self, network: nn.Module, optimizer: Any, clip: float) -> None:
        """Step the optimizer; clip: largest norm of the gradients, 0 for no limit."""
        ...

    def mean(self, loss: Tensor) -> float:
        """The mean of a number over all processes."""
        ...

    def any(self, mine: bool) -> bool:
        """Whether a condition is true in any process; every process must call it at the same place."""
        ...

    def wait(self) -> None:
        """Until every process is here."""
        ...

    def scaler(self, base: torch.dtype) -> GradScaler | None:
        """The scaler of the loss, a part of the run's state; None without half precision. Call it before `prepare`.

        base: the dtype of the frozen model.
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
        """Both unchanged."""
        return network, optimizer

    def computing(self, network: Any, last: bool) -> AbstractContextManager[Any]:
        """An empty context."""
        return nullcontext()

    def autocast(self) -> AbstractContextManager[Any]:
        """torch's autocast."""
        return torch.autocast(self._kind, self._dtype) if self._dtype else nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradients, scaled when there is a scaler."""
        (self._scaler.scale(loss) if self._scaler else loss).backward()

    def step(self, network: nn.Module, optimizer: Optimizer, clip: float) -> None:
        """Step the optimizer; a step with overflowed gradients is left out."""
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
        """The number itself."""
        return loss.item()

    def any(self, mine: bool) -> bool:
        """The condition itself."""
        return mine

    def wait(self) -> None:
        """Do nothing: there is no other process."""

    def scaler(self, base: torch.dtype) -> GradScaler | None:
        """torch's GradScaler."""
        if self._scaler is None and torch.float16 in (base, self._dtype):
            self._scaler = GradScaler(self._kind)
        return self._scaler


class Accelerated:
    """A process of `accelerate launch`; precision, devices and communication are accelerate's.

    As a context it leaves the other processes at its end.

    accelerator: an `accelerate.Accelerator`; by default one as the launch configured it. Raises ImportError without
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

    def __enter__(self) -> Accelerated:
        return self

    def __exit__(self, *raised: object) -> None:
        self._accelerator.end_training()
        if self.processes > 1:
            time.sleep(_LAST_TENSORS)

    @property
    def device(self) -> torch.device:
        """The device of this process, on which the base model must be."""
        return self._accelerator.device

    def prepare(self, network: nn.Module, optimizer: Optimizer) -> tuple[Callable[[Tensor], Any], Any]:
        """Both wrapped by accelerate, so that gradients are averaged over the processes."""
        return self._accelerator.prepare(network, optimizer)

    def computing(self, network: Any, last: bool) -> AbstractContextManager[Any]:
        """Processes exchange gradients only in the last batch of a step."""
        return nullcontext() if last else self._accelerator.no_sync(network)

    def autocast(self) -> AbstractContextManager[Any]:
        """accelerate's autocast, as the launch configured it."""
        return self._accelerator.autocast()

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradients."""
        self._accelerator.backward(loss)

    def step(self, network: nn.Module, optimizer: Any, clip: float) -> None:
        """Step the optimizer, equally in every process."""
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
        """Whether the condition is true in any process."""
        if self.processes == 1:
            return mine
        return self._accelerator.reduce(torch.tensor(float(mine), device=self.device), reduction="sum").item() > 0

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()

    def scaler(self, base: torch.dtype) -> GradScaler | None:
        """accelerate's own scaler in fp16; otherwise one for a base in half precision, which accelerate gets."""
        if self._accelerator.scaler is None and base is torch.float16:
            self._scaler = self._accelerator.scaler = GradScaler(self.device.type)
        return self._accelerator.scaler
