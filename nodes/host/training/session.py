"""One training run inside ComfyUI: its first network, its progress in the graph, and the adapter that comes out."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import comfy.model_management as memory
import comfy.utils
import torch
from torch import Tensor, nn

from ....ip_adapter_core.adapters import saving
from ....ip_adapter_core.adapters.adapter import Adapter
from ....ip_adapter_core.adapters.checkpoint import split
from ....ip_adapter_core.layers.families import describe
from ....ip_adapter_core.plots import loss
from ....ip_adapter_core.text.wording import quoted
from ....ip_adapter_core.training import pairs
from ....ip_adapter_core.training.engines import Alone
from ....ip_adapter_core.training.fresh import fresh, trainable
from ....ip_adapter_core.training.interface import Step
from ....ip_adapter_core.training.loop import train
from ....ip_adapter_core.training.settings import Settings
from .. import adapters, models
from ..adapters import LoadedAdapter
from ..pictures import to_image
from . import base_model, dataset
from .dataset import HostEncoder

PRECISIONS: dict[str, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[^\W_][\w .-]*")
_MAX_NAME = 200  # bytes, to which the files of a run add a few; file systems take 255
_SHOWN_EVERY = 1.0  # seconds between two pictures of the curve


@dataclass(frozen=True)
class TrainingRequest:
    """What to train, as the user says it.

    name: of the run and of its folder.
    kind: of adapter.
    source: of the pictures, as `dataset.locate` reads it.
    resolution: side of the squares that pictures are cut to, in pixels.
    settings: of the training itself.
    precision: what the adapter computes in, a row of PRECISIONS.
    """

    name: str
    kind: str
    source: str
    resolution: int
    settings: Settings
    precision: str = "fp32"

    def folder(self) -> Path:
        """The folder of the run's state. Raises ValueError for a name that is not valid as the name of a folder."""
        if not _NAME.fullmatch(self.name) or len(self.name.encode()) > _MAX_NAME:
            raise ValueError(
                f"Set name to letters and digits, such as my-adapter; {quoted(self.name)} cannot name a run."
            )
        return dataset.training_folder() / self.name


@dataclass
class Progress:
    """Shows a run in the graph, and ends it when the user interrupts.

    name: of the run.
    losses: of the steps so far.
    bar: the node's progress bar.
    """

    name: str
    losses: list[float] = field(default_factory=list)
    bar: Any = field(default_factory=lambda: comfy.utils.ProgressBar(1))
    _shown: float = 0.0

    def show_encoding(self, done: int, of: int) -> None:
        """Show how many pictures are encoded."""
        memory.throw_exception_if_processing_interrupted()
        self.bar.update_absolute(done, of)

    def show_step(self, step: Step) -> None:
        """Show a step that was made."""
        if not self.losses:
            _log.info("Training %s: step %d of %d is made.", self.name, step.number, step.of)
        memory.throw_exception_if_processing_interrupted()
        self.losses.append(step.loss)
        preview = None
        if time.monotonic() - self._shown > _SHOWN_EVERY:
            drawn = loss.draw(self.losses, step.number - len(self.losses) + 1)
            self._shown, preview = time.monotonic(), ("PNG", drawn, None)
        self.bar.update_absolute(step.number, step.of, preview)


def encoder(model: Any, clip: Any, vae: Any, clip_vision: Any, kind: str) -> HostEncoder:
    """The frozen models, as an adapter of this kind needs them."""
    return HostEncoder(model, clip, vae, clip_vision, dataset.reads(kind))


def run(request: TrainingRequest, encoder: HostEncoder, start: LoadedAdapter | None) -> tuple[LoadedAdapter, Tensor]:
    """Train, or go on with a run of this name; the adapter, and a picture of the loss (1, height, width, 3).

    start: the adapter to train on from, None for a new one. Raises ValueError, before anything is encoded, when the
    request is not valid or model, encoder and adapter do not belong together.
    """
    request.settings.check()
    folder = request.folder()
    base = base_model.HostBase(encoder.model, request.settings.gradient_checkpointing)
    network = first_network(request, encoder, start)
    progress = Progress(request.name)
    examples = dataset.examples(dataset.locate(request.source), encoder, request.resolution, progress.show_encoding)
    engine = Alone(base.device, PRECISIONS[request.precision])
    memory.unload_all_models()  # the encoders are done; gradients need their room
    with base:
        outcome = train(
            network, base, examples, request.settings, engine=engine, folder=folder, on_step=progress.show_step
        )
    drawn = loss.draw(outcome.losses)
    drawn.save(folder / "loss.png")
    file = write_adapter(cast(Adapter, outcome.network), folder / f"{request.name}-{outcome.steps}.safetensors")
    return file, to_image(drawn)


def fingerprint(source: str | None) -> str | None:
    """Changes when the pictures of a data set do; None where the graph tells the source only as it runs."""
    return pairs.fingerprint(dataset.locate(source)) if source and source.strip() else None


def first_network(request: TrainingRequest, encoder: HostEncoder, start: LoadedAdapter | None) -> Adapter:
    """The network before its first step. Raises ValueError when model, encoder and the adapter to start from do not
    fit."""
    geometry = models.geometry(encoder.model)
    dataset.check(encoder)
    width = encoder.nulls()["features"].shape[-1]
    if start is None:
        weights = base_model.attention_weights(encoder.model)
        return fresh(request.kind, geometry, width, weights, request.settings.seed)
    training = f"{request.kind}, {describe(geometry)}, reads {encoder.reads} of width {width}"
    identity = start.identity
    if (identity.variant.name, identity.geometry, identity.widths) != (request.kind, geometry, (width,)):
        raise ValueError(
            "Connect an adapter of the same kind, model and encoder, or none to begin a new one; "
            f"{start.name} is {identity.describe()} (width {identity.widths[-1]}), and this training "
            f"is {training}."
        )
    return trainable(_plain(start.patcher.model))


def write_adapter(network: Adapter, path: Path) -> LoadedAdapter:
    """A trained adapter in a file of its own, loaded from there as every other adapter is."""
    saving.save(network, path, "fp32")
    return adapters.read(path.name, path)


def _plain(adapter: Adapter) -> Adapter:
    """The same adapter in torch's own layers: the host's may cast and move weights behind the optimizer's back."""
    with torch.inference_mode(False):
        parts = split({name: tensor.detach().cpu().clone() for name, tensor in adapter.state_dict().items()})
        plain = Adapter(parts.map(lambda tensor: tuple(tensor.shape)), nn)
        plain.load_state_dict(parts.flat())
        return plain
