"""Train the small world's ControlNet: outlines -> the layout of the picture (arXiv 2302.05543)."""

import itertools
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from comfy.cldm.cldm import ControlNet
from comfy.ops import disable_weight_init
from torch import nn

from ...ip_adapter_core.small_world.drawing import outlines
from ...ip_adapter_core.small_world.world import Scene, caption
from . import base, words
from .descent import Descent
from .shelf import COUNTS, MODELS, mixed_precision, plain_attention, publish, scenes

FILE = MODELS / "controlnet" / "small_world_outlines.safetensors"
BATCH = min(32, COUNTS["train"])
FROZEN = 10
"""Of the layers that read the hint: its first five convolutions."""


def blank(unet: nn.Module) -> ControlNet:
    """A ControlNet that starts as a copy of the model's encoder and adds nothing."""
    model = ControlNet(**deepcopy(base.SHAPE), hint_channels=3, operations=disable_weight_init, dtype=torch.float32)
    base.initialise(model)
    model.load_state_dict(unet.state_dict(), strict=False)
    for layer in model.input_hint_block[::2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # so that lines are still seen eight layers on
    for layer in [*model.zero_convs, model.middle_block_out]:
        nn.init.zeros_(layer[0].weight)
    return model


def wrong(drawn: Sequence[Scene]) -> list[str]:
    """Captions that are right about the look of each scene, and of another's shapes, size and place."""
    dice = np.random.default_rng(11)
    others = [drawn[row] for row in dice.permutation(len(drawn))]
    pairs = zip(drawn, others, strict=True)
    return [caption(_disguised(one, other), dice, silence=0.15, nameless=0.15) for one, other in pairs]


def _disguised(one: Scene, other: Scene) -> Scene:
    things = [
        replace(thing, shape=like.shape, size=like.size, place=like.place if len(one.objects) == 1 else thing.place)
        for thing, like in zip(one.objects, itertools.cycle(other.objects), strict=False)
    ]
    return replace(one, objects=tuple(things))


def learning(model: ControlNet) -> list[nn.Parameter]:
    """The trained parameters: all but the first layers, which work at 256×256 and would gain nothing."""
    model.input_hint_block[:FROZEN].requires_grad_(False)
    return [weight for weight in model.parameters() if weight.requires_grad]


def train(steps: int, batch: int = BATCH, rate: float = 1e-3) -> ControlNet:
    """Predict v with the frozen model.

    Half of the captions are empty, so that the outlines must speak; the others are wrong about what outlines say, so
    that these have the last word against a text, and against an image prompt.
    """
    torch.manual_seed(5)
    unet, text = base.trained()
    images, signal = base.latents("train"), base.noise_levels()
    drawn, encode = scenes("train"), words.tokenizer()
    ids, empty = words.padded(encode(wrong(drawn))), words.padded(encode([""]))
    model = blank(unet)
    descent = Descent("controlnet", learning(model), steps, rate, clip=1.0)
    for _ in range(steps):
        rows = torch.randint(len(images), (batch,))
        hint = outlines([drawn[row] for row in rows.tolist()])
        said = torch.where(torch.rand(batch, 1) < 0.5, empty, ids[rows])
        t = torch.randint(1000, (batch,))
        x, target = base.diffused(images[rows].float(), signal[t])
        with plain_attention(), mixed_precision():
            context = text(said)
            control = {key: list(value) for key, value in model(x, hint, t, context).items()}
            predicted = unet(x, t, context, control=control)
        loss = (predicted.float() - target).square().mean()
        if descent.step(loss):
            publish(FILE, model.state_dict())
    descent.end()
    return model


def main(steps: int) -> None:
    """Train and write the ControlNet."""
    publish(FILE, train(steps).state_dict())
