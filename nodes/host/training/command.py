"""A long training from the command line: models from files, processes of accelerate, logs and samples."""

from __future__ import annotations

import logging
import time
from argparse import Namespace
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import comfy.sd
import folder_paths
from torch import Tensor

from ....ip_adapter_core.adapters import saving
from ....ip_adapter_core.adapters.adapter import Adapter
from ....ip_adapter_core.plots import loss
from ....ip_adapter_core.training.engines import Accelerated
from ....ip_adapter_core.training.interface import Outcome, Step
from ....ip_adapter_core.training.loop import train
from ....ip_adapter_core.training.settings import Settings
from ....ip_adapter_core.training.stopping import StopRequest
from .. import adapters, demo_files, files, small_world, vision
from . import base_model, dataset, session
from .dataset import HostEncoder
from .samples import Sampler
from .session import TrainingRequest

_CHECKPOINTS = "checkpoints"
_LOGGED_EVERY = 10.0  # seconds between two lines
_PATIENCE = timedelta(days=2)  # of the other processes while the first one encodes
_NEEDS_TENSORBOARD = "Install TensorBoard with `pip install tensorboard`; --log-dir needs it."

_log = logging.getLogger(__name__)


def run(arguments: Namespace) -> None:
    """Train as the command line says, or go on with it. Raises ValueError or ImportError before the work starts."""
    files.register_folders()
    small_world.register()
    demo_files.show()
    request, folder = _request(arguments), arguments.folder or arguments.output.with_suffix("")
    accelerator = _accelerator()
    level = logging.INFO if accelerator.is_main_process else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", force=True)
    writer = _writer(arguments.log_dir if accelerator.is_main_process else None)
    encoder = _models(arguments)
    base = base_model.HostBase(encoder.model, request.settings.gradient_checkpointing)
    start = adapters.read(arguments.start.name, arguments.start) if arguments.start else None
    network = session.first_network(request, encoder, start)
    with accelerator.main_process_first():
        examples = dataset.examples(
            Path(request.source), encoder, request.resolution, _log_encoded, folder / "features"
        )
    sampler = Sampler(encoder, examples, network, folder / "samples", arguments.sample_steps)
    with Accelerated(accelerator) as engine:
        with base, StopRequest() as stop:
            report = Report(sampler, arguments.sample_every, writer, accelerator.is_main_process, stop)
            outcome = train(
                network, base, examples, request.settings, engine=engine, folder=folder, on_step=report.show_step
            )
        if accelerator.is_main_process:
            _write(outcome, folder, arguments)
        engine.wait()


def _write(outcome: Outcome, folder: Path, arguments: Namespace) -> None:
    loss.draw(outcome.losses).save(folder / "loss.png")
    saving.save(cast(Adapter, outcome.network), arguments.output, arguments.dtype)
    _log.info("The adapter is in %s.", arguments.output)


@dataclass
class Report:
    """Shows how a training goes, and ends it when the user wants to stop.

    sampler: draws the samples.
    sample_every: how many steps lie between two samples; 0 for none.
    writer: of TensorBoard's logs; None where there are none.
    first: whether this is the first process, which alone writes lines, logs and samples.
    stop: whether the user wants to stop.
    """

    sampler: Sampler
    sample_every: int
    writer: Any
    first: bool
    stop: StopRequest
    _logged: float = field(default_factory=time.monotonic)

    def show_step(self, step: Step) -> None:
        """Report a step that was made. Raises KeyboardInterrupt when the training is to stop."""
        if self.first:
            self._log_step(step)
        self.stop.check()
        if self.first and self.sample_every and step.number % self.sample_every == 0:
            self._write_sample(step.number, self.sampler.draw(step.number))

    def _log_step(self, step: Step) -> None:
        if self.writer:
            self.writer.add_scalar("loss", step.loss, step.number)
            self.writer.add_scalar("learning rate", step.rate, step.number)
        if time.monotonic() - self._logged > _LOGGED_EVERY or step.number == step.of:
            self._logged = time.monotonic()
            _log.info("step %d of %d: loss %.4f", step.number, step.of, step.loss)
        if self.writer and step.number == step.of:
            self.writer.flush()

    def _write_sample(self, number: int, grid: Tensor) -> None:
        if self.writer:
            self.writer.add_image("samples", grid, number, dataformats="HWC")


def _request(arguments: Namespace) -> TrainingRequest:
    settings = Settings(**{setting.name: getattr(arguments, setting.name) for setting in fields(Settings)})
    settings.check()
    if arguments.output.suffix != ".safetensors":
        raise ValueError(f"Write --output as a name that ends in .safetensors; found {arguments.output}.")
    return TrainingRequest(arguments.output.stem, arguments.kind, arguments.dataset, arguments.resolution, settings)


def _writer(folder: Path | None) -> Any:
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(_NEEDS_TENSORBOARD) from error
    return SummaryWriter(str(folder))


def _accelerator() -> Any:
    try:
        from accelerate import Accelerator, InitProcessGroupKwargs
    except ImportError as error:
        raise ImportError("Install accelerate with `pip install accelerate`; this command needs it.") from error
    import comfy.model_management as memory

    cpu = memory.is_device_cpu(memory.get_torch_device())
    return Accelerator(cpu=cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)])


def _models(arguments: Namespace) -> HostEncoder:
    checkpoint = files.path(_CHECKPOINTS, _name_in(_CHECKPOINTS, arguments.checkpoint))
    # Not dynamic: samples are drawn with the very model that is trained on.
    model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(
        checkpoint, embedding_directory=folder_paths.get_folder_paths("embeddings"), disable_dynamic=True
    )
    tower = vision.load(_name_in(files.ENCODERS, arguments.clip_vision))
    for what, part in (("model", model), ("text encoder", clip), ("VAE", vae)):
        if part is None:
            raise ValueError(f"Name a whole checkpoint; {arguments.checkpoint} holds no {what}.")
    return session.encoder(model, clip, vae, tower, arguments.kind)


def _name_in(category: str, file: str) -> str:
    """The name of a model file in the host's folders; the folder of a path is made one of them."""
    path = Path(file).expanduser()
    if not path.is_file():
        return file
    folder_paths.add_model_folder_path(category, str(path.resolve().parent), is_default=True)
    return path.name


def _log_encoded(done: int, of: int) -> None:
    if done == of or done % 1000 < 8:
        _log.info("%d of %d pictures are encoded.", done, of)
