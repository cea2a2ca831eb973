"""Train the small world's adapters with the package's own trainer, and the simple adapter they are compared with."""

import logging
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...ip_adapter_core.adapters.projections import ImageProjection
from ...ip_adapter_core.layers.layout import Geometry, geometry
from ...ip_adapter_core.small_world.canvas import PICTURE
from ...ip_adapter_core.small_world.drawing import draw
from ...ip_adapter_core.training.examples import TensorExamples
from ...ip_adapter_core.training.fresh import TRAINABLE_KINDS, fresh
from ...ip_adapter_core.training.interface import Step
from ...ip_adapter_core.training.loop import train
from ...ip_adapter_core.training.settings import Settings
from ...nodes.host.training.base_model import HostBase, attention_weights
from . import base, host
from .shelf import (
    COUNTS,
    FOLDER,
    MODELS,
    captions,
    kept,
    mixed_precision,
    plain_attention,
    publish,
    read,
    record,
    scenes,
)

BATCH = min(48, COUNTS["train"])
READS = {"base": "embeds", "plus": "hidden", "simple": "embeds"}
STEPS = 2000
"""Of every adapter, after its echo."""
UNSAID = 0.5
"""How many pictures have no caption, so that the image must say everything; the others' captions say half of it,
the shape included: a text that always says the shape leaves the image nothing to tell of it."""


def file(kind: str) -> Path:
    """Where an adapter is shipped; the simple one is no format that others know, so no menu lists it."""
    return MODELS / ("ablation" if kind == "simple" else "ipadapter") / f"small_world_{kind}.safetensors"


class SimpleBase(HostBase):
    """The model with image tokens behind those of the text, under one attention (arXiv 2308.06721, section 4.4.1)."""

    def denoised(self, noisy: Tensor, sigmas: Tensor, text: Mapping[str, Tensor], image: Any) -> Tensor:
        """As the host's own attention makes it of the longer text."""
        longer = {**text, "context": torch.cat([text["context"], image], dim=1)}
        return self._model.apply_model(
            noisy, sigmas, transformer_options=self._options(sigmas), **self._conds(noisy, longer)
        )


def simple(shape: Geometry, width: int) -> nn.Module:
    """The projection of the base kind, alone."""
    tokens, shapes = TRAINABLE_KINDS["base"]
    return ImageProjection(shapes(shape.context, width, tokens), nn)


def seen() -> dict[str, Tensor]:
    """The encoder's features of the training scenes, drawn at half of the size: to the encoder they are the same.

    Computed once and written to disk.
    """

    def make() -> dict[str, Tensor]:
        shown = scenes("train")
        chunks = [host.features(draw(shown[n : n + 200], PICTURE // 2)) for n in range(0, len(shown), 200)]
        return {field: torch.cat([getattr(c, field).half() for c in chunks]) for field in ("embeds", "hidden")}

    return kept("train_drawn", make)


def examples(kind: str) -> TensorExamples:
    """Latents, features and captions."""
    dice = np.random.default_rng(7)
    texts = ["" if dice.random() < UNSAID else text for text in captions("train", silence=0.5, nameless=0.5)]
    rows = {
        "latents": base.latents("train"),
        "features": seen()[READS[kind]],
        "context": host.contexts(texts).half(),
    }
    return TensorExamples(rows, {"features": getattr(host.blank(), READS[kind]), "context": host.contexts([""])})


def part_latents(network: nn.Module) -> None:
    """Begin the resampler's latents at the size of what attention adds to them, so that its tokens differ at once.

    The published beginning, 1/√width, is made for widths of 768 and more; here, at 128, the 16 tokens would begin
    nearly alike (cosine .89), and slowly learn to differ.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        nn.init.normal_(network.get_parameter("image_proj.latents"))


def beginning(kind: str, width: int) -> nn.Module:
    """A new adapter that reads features of a width."""
    model = host.checkpoint().model
    shape = geometry(model.model.model_config.unet_config)
    if kind == "simple":
        return simple(shape, width)
    network = fresh(kind, shape, width, attention_weights(model))
    if kind == "plus":
        part_latents(network)
    return network


def teach(
    network: nn.Module, model: HostBase, shown: TensorExamples, into: Path, name: str, settings: Settings
) -> None:
    """Train an adapter on a model and write it into a file; name: of the record."""
    started = time.time()
    with model as frozen, plain_attention(), mixed_precision():
        outcome = train(network, frozen, shown, settings, folder=FOLDER / name, on_step=partial(_log, name))
    publish(into, outcome.network.state_dict())
    record(name, outcome.losses, time.time() - started)


def _log(name: str, step: Step) -> None:
    if step.number % 50 == 0:
        logging.info("%s step %d: loss %.4f", name, step.number, step.loss)


def recipe(steps: int) -> Settings:
    """The paper's, at a rate for thousands of steps instead of a million."""
    return Settings(
        steps=steps, batch=BATCH, learning_rate=2e-3, warmup=100, decay=True, ema=0.995, save_every=250, seed=1
    )


def main(kind: str, steps: int = STEPS) -> None:
    """Go on with an adapter of a kind from the weights that are there, and write it."""
    shown, frozen = examples(kind), (SimpleBase if kind == "simple" else HostBase)(host.checkpoint().model)
    network = beginning(kind, shown.nulls["features"].shape[-1])
    network.load_state_dict(read(file(kind)))
    teach(network, frozen, shown, file(kind), f"adapter_{kind}", recipe(steps))
