"""The state of a training run on disk: safetensors, written whole or not at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..files.atomic import save_whole
from ..text.wording import shown
from .settings import Settings

FILE = "state.safetensors"
PICTURES = "pictures"
"""The key of the identity of pictures and captions, which a continued run must not change either."""

Lasting = Mapping[str, float | str]

_NETWORK, _AVERAGE, _OPTIMIZER, _LOSSES = "network", "average", "optimizer", "losses"
_FORMERLY = {"rate": "learning_rate"}  # settings, by their names in states of earlier versions
_OTHER = "Go on with what that run had, or train under another name."

Tensors = dict[str, Tensor]

_log = logging.getLogger(__name__)


@dataclass
class Trainee:
    """What a training run changes.

    network: the network that learns.
    optimizer: with its moments.
    average: moving average of the network's weights; None without one.
    scaler: of the loss in half precision; None without one.
    losses: of the steps so far.
    """

    network: nn.Module
    optimizer: Optimizer
    average: AveragedModel | None
    scaler: GradScaler | None
    losses: list[float] = field(default_factory=list)

    @property
    def result(self) -> nn.Module:
        """The network to use: the moving average if there is one."""
        return self.network if self.average is None else self.average.module

    def tensors(self) -> Tensors:
        """All tensors by name; the scaler has none."""
        average = {} if self.average is None else self.average.state_dict()
        moments = self.optimizer.state_dict()["state"]
        return {
            _LOSSES: torch.tensor(self.losses, dtype=torch.float64),
            **{f"{_NETWORK}.{name}": tensor for name, tensor in self.network.state_dict().items()},
            **{f"{_AVERAGE}.{name}": tensor for name, tensor in average.items()},
            **{f"{_OPTIMIZER}.{n}.{name}": value for n, inner in moments.items() for name, value in inner.items()},
        }

    def restore(self, saved: Tensors) -> None:
        """Take over the result of `tensors`."""
        self.losses[:] = saved[_LOSSES].tolist()
        self.network.load_state_dict(_under(saved, _NETWORK))
        if self.average is not None:
            self.average.load_state_dict(_under(saved, _AVERAGE))
        moments: dict[int, Tensors] = {}
        for name, value in _under(saved, _OPTIMIZER).items():
            number, key = name.split(".")
            moments.setdefault(int(number), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})


def begin(network: nn.Module, settings: Settings, scaler: GradScaler | None) -> Trainee:
    """A network before its first step. Raises ValueError when it cannot be trained."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not parameters or any(parameter.is_inference() for parameter in parameters):
        raise ValueError("Train a fresh network or a trainable copy; this one is for inference only.")
    optimizer = AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema)) if settings.ema else None
    return Trainee(network, optimizer, average, scaler)


def save(folder: Path, trainee: Trainee, lasting: Lasting) -> None:
    """Write the state into a folder; the earlier state stays until the new one is complete."""
    scaler = trainee.scaler.state_dict() if trainee.scaler else {}
    metadata = {"settings": json.dumps(dict(lasting)), "scaler": json.dumps(scaler)}
    tensors = {name: tensor.detach().contiguous() for name, tensor in trainee.tensors().items()}
    save_whole(tensors, folder / FILE, metadata)


def resume(folder: Path, trainee: Trainee, lasting: Lasting) -> None:
    """Take over the state in a folder, if it has one.

    lasting: the settings that the earlier run must share. Raises ValueError that names the difference.
    """
    path = folder / FILE
    if not path.exists():
        return
    tensors, metadata = _read(path)
    earlier = {_FORMERLY.get(name, name): value for name, value in json.loads(metadata["settings"]).items()}
    _check_settings(folder, earlier, lasting)
    _check_shapes(folder, _under(tensors, _NETWORK), trainee.network.state_dict())
    trainee.restore(tensors)
    if trainee.scaler and (scale := json.loads(metadata["scaler"])):  # empty: a run that was not scaled before
        trainee.scaler.load_state_dict(scale)


def _read(path: Path) -> tuple[Tensors, dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    except SafetensorError as error:
        raise ValueError(f"Delete {shown(path)} to train from the beginning; it is damaged ({error}).") from error


def _under(tensors: Tensors, part: str) -> Tensors:
    prefix = f"{part}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _check_settings(folder: Path, earlier: Lasting, lasting: Lasting) -> None:
    for name in {**earlier, **lasting}:
        if name == PICTURES and earlier.get(name) != lasting.get(name):
            _check_pictures(folder, earlier, lasting)
        elif earlier.get(name) != lasting.get(name):
            old, new = earlier.get(name, "not set"), lasting.get(name, "not set")
            raise ValueError(f"{_OTHER} {shown(folder)} holds a training with {name} {old}; this one has {name} {new}.")


def _check_pictures(folder: Path, earlier: Lasting, lasting: Lasting) -> None:
    if PICTURES in earlier and PICTURES in lasting:
        raise ValueError(f"{_OTHER} {shown(folder)} holds a training on other pictures or captions than there are now.")
    _log.warning("%s does not say which pictures it was trained on; it goes on with these.", shown(folder))


def _check_shapes(folder: Path, earlier: Tensors, needed: Mapping[str, Tensor]) -> None:
    for name in {**earlier, **needed}:
        old, new = (list(tensors[name].shape) if name in tensors else "none" for tensors in (earlier, needed))
        if old != new:
            raise ValueError(
                f"{_OTHER} {shown(folder)} holds a training of another network: {name} is {old}, not {new}."
            )
