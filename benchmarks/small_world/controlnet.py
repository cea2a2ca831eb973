"""Train the small world's ControlNet: outlines -> the layout of the picture (arXiv 2302.05543)."""

from copy import deepcopy

import torch
from comfy.cldm.cldm import ControlNet
from comfy.ops import disable_weight_init
from torch import Tensor, nn

from ...ip_adapter_core.small_world.drawing import outlines
from . import base, words
from .descent import Descent
from .shelf import COUNTS, MODELS, captions, mixed_precision, plain_attention, publish, scenes

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


def learning(model: ControlNet) -> list[nn.Parameter]:
    """The trained parameters: all but the first layers, which work at 256×256 and would gain nothing."""
    model.input_hint_block[:FROZEN].requires_grad_(False)
    return [weight for weight in model.parameters() if weight.requires_grad]


def train(steps: int, batch: int = BATCH, rate: float = 1e-3) -> ControlNet:
    """Predict v with the frozen model; half of the captions are empty, so that the outlines must speak."""
    torch.manual_seed(5)
    unet, text = base.trained()
    images, signal = base.latents("train"), base.noise_levels()
    drawn, encode = scenes("train"), words.tokenizer()
    ids, empty = words.padded(encode(captions("train", silence=0.15))), words.padded(encode([""]))
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
