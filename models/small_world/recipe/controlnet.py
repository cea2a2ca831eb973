"""Train the small world's ControlNet: outlines -> the layout of the picture (arXiv 2302.05543)."""

from copy import deepcopy

import torch
from comfy.cldm.cldm import ControlNet
from comfy.ops import disable_weight_init
from torch import nn

from ..world import outlines
from . import base, words
from .shelf import MODELS, Report, captions, plain_attention, publish, scenes

FILE = MODELS / "controlnet" / "small_world_outlines.safetensors"


def blank(unet: nn.Module) -> ControlNet:
    """A ControlNet that starts as a copy of the model's encoder and adds nothing."""
    model = ControlNet(**deepcopy(base.SHAPE), hint_channels=3, operations=disable_weight_init, dtype=torch.float32)
    base.initialise(model)
    model.load_state_dict(unet.state_dict(), strict=False)
    for layer in [*model.zero_convs, model.middle_block_out]:
        nn.init.zeros_(layer[0].weight)
    return model


def train(steps: int, batch: int = 64, rate: float = 1e-3) -> ControlNet:
    """Predict the noise with the frozen model; half of the captions are empty, so that the outlines must speak."""
    torch.manual_seed(5)
    unet, text = base.trained()
    images, signal = base.latents("train"), base.noise_levels()
    drawn, encode = scenes("train"), words.tokenizer()
    ids, empty = words.padded(encode(captions("train", silence=0.15))), words.padded(encode([""]))
    model = blank(unet)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.05)
    report = Report("controlnet")
    for _ in range(steps):
        rows = torch.randint(len(images), (batch,))
        hint = outlines([drawn[row] for row in rows.tolist()])
        said = torch.where(torch.rand(batch, 1) < 0.5, empty, ids[rows])
        t = torch.randint(1000, (batch,))
        a, noise = signal[t][:, None, None, None], torch.randn(batch, *images.shape[1:])
        x = a.sqrt() * images[rows].float() + (1 - a).sqrt() * noise
        with plain_attention(), torch.autocast("cpu", torch.bfloat16):
            context = text(said)
            control = {key: list(value) for key, value in model(x, hint, t, context).items()}
            predicted = unet(x, t, context, control=control)
        loss = (predicted.float() - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if report.step(loss.item()):
            publish(FILE, model.state_dict())
    report.keep()
    return model


def main(steps: int = 2000) -> None:
    """Train and write the ControlNet."""
    publish(FILE, train(steps).state_dict())
