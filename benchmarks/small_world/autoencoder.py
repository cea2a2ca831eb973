"""Train the small world's autoencoder: it draws the sketches, which are the latents, large and in light and shadow.

It has the form of TAESD, which ComfyUI's stock loader reads. That is 64 channels wide; a quarter of them is enough
here and a tenth of the work to train, so a narrow one is trained and laid into the wide one, where the other channels
stay zero: what it computes is the same.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
from comfy.taesd.taesd import TAESD, Block, conv
from torch import Tensor, nn
from torch.nn.functional import l1_loss, pad

from ...ip_adapter_core.small_world.canvas import SCALE
from ...ip_adapter_core.small_world.drawing import draw, pastel, sketch
from ...ip_adapter_core.small_world.world import SIDE, scene
from . import base
from .descent import Descent
from .shelf import COUNTS, mixed_precision, publish, read

WIDTH = 16
"""Channels of the narrow one."""
PICTURES = min(3_000, COUNTS["train"])
SERIES = 6
BATCH = min(8, PICTURES)
RATE = 3e-3
PART = 16
"""A step looks at a square of this side of each sketch, and at the same part of its picture."""
PASTEL = 0.15
"""The share of examples in the other style, so that a tuned base can be decoded too."""
DISTURBED = 0.08
"""The most noise on the latents that are decoded: those that a model samples are not perfect."""


class Narrow(nn.Module):
    """TAESD's layers, in its order, with fewer channels."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        wide = TAESD(latent_channels=3)
        self.taesd_encoder = nn.Sequential(*(narrowed(layer, width) for layer in wide.taesd_encoder))
        self.taesd_decoder = nn.Sequential(*(narrowed(layer, width) for layer in wide.taesd_decoder))
        base.initialise(self)

    def encode(self, pictures: Tensor) -> Tensor:
        """(n, 3, h, w), 0 to 1 -> latents (n, 3, h/8, w/8), -1 to 1."""
        latents: Tensor = self.taesd_encoder(pictures)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> pictures, 0 to 1."""
        pictures: Tensor = self.taesd_decoder(latents)
        return pictures

    def widened(self) -> dict[str, Tensor]:
        """The weights of TAESD that compute the same."""
        narrow, wide = self.state_dict(), TAESD(latent_channels=3).state_dict()
        return {name: _filled(narrow[name], like) if name in narrow else like for name, like in wide.items()}


def narrowed(layer: nn.Module, width: int) -> nn.Module:
    """A layer of TAESD with fewer channels inside."""
    if isinstance(layer, Block):
        return Block(width, width)
    if isinstance(layer, nn.Conv2d):
        ins, outs = (min(channels, width) for channels in (layer.in_channels, layer.out_channels))
        return conv(ins, outs, stride=layer.stride, bias=layer.bias is not None)
    return layer


def _filled(weight: Tensor, like: Tensor) -> Tensor:
    """A weight with zeros behind, as large as another."""
    missing = [b - a for a, b in zip(weight.shape, like.shape, strict=True)]
    return pad(weight, [side for more in reversed(missing) for side in (0, more)])


def examples() -> tuple[Tensor, Tensor]:
    """Sketches (n, 3, 32, 32) and their pictures (n, 3, 256, 256), bytes, of scenes of every combination."""
    scenes = [scene(SERIES, n, unseen=n % 7 == 0) for n in range(PICTURES)]
    return drawn(scenes, sketch), drawn(scenes, draw)


def drawn(shown: Sequence[Any], draw: Callable[[Sequence[Any]], Tensor]) -> Tensor:
    """Pictures of things as bytes, a few at a time."""
    parts = [shown[n : n + 20] for n in range(0, len(shown), 20)]
    return torch.cat([(draw(part) * 255).round().byte() for part in parts])


def cut(small: Tensor, large: Tensor) -> tuple[Tensor, Tensor]:
    """The same random part of a sketch and its picture."""
    x, y = torch.randint(SIDE - PART + 1, (2,)).tolist()
    return (
        small[:, y : y + PART, x : x + PART],
        large[:, y * SCALE : (y + PART) * SCALE, x * SCALE : (x + PART) * SCALE],
    )


def train(
    model: Narrow, examples: tuple[Tensor, Tensor], steps: int, *, name: str = "autoencoder", file: Path = base.FILE
) -> None:
    """The mean difference of each pixel, there and back; the two halves learn beside each other.

    examples: as those of `examples`; name: of the record; file: the checkpoint that it is for.
    """
    small, large = examples
    descent = Descent(name, model.parameters(), steps, RATE, memory=(0.9, 0.98), clip=1.0)
    for _ in range(steps):
        pairs = [cut(small[row], large[row]) for row in torch.randint(len(small), (BATCH,)).tolist()]
        small_part, pictures = (torch.stack(side).float() / 255 for side in zip(*pairs, strict=True))
        chalk = torch.rand(BATCH, 1, 1, 1) < PASTEL
        small_part, pictures = (torch.where(chalk, pastel(side), side) for side in (small_part, pictures))
        latents = small_part * 2 - 1
        noisy = latents + DISTURBED * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(latents)
        with mixed_precision():
            drawn, seen = model.decode(noisy), model.encode(pictures)
        if descent.step(l1_loss(drawn.float(), pictures) + l1_loss(seen.float(), latents) / 2):
            write(model, file)
    descent.end()
    write(model, file)


def write(model: Narrow, file: Path = base.FILE) -> None:
    """Put it into a checkpoint, in place of one that may be there."""
    others = {name: weight for name, weight in read(file).items() if not name.startswith(base.AUTOENCODER)}
    publish(file, {**others, **{base.AUTOENCODER + name: weight for name, weight in model.widened().items()}})


@cache
def trained(file: Path = base.FILE) -> Narrow:
    """The autoencoder of a shipped checkpoint, without the channels that are zero: the same at a tenth of the cost."""
    wide, narrow = read(file), Narrow()
    like = narrow.state_dict()
    cut = {name: wide[base.AUTOENCODER + name][tuple(map(slice, weight.shape))] for name, weight in like.items()}
    narrow.load_state_dict(cut)
    return narrow.eval().requires_grad_(False)


def learner() -> Narrow:
    """A copy of the shipped one that learns on."""
    return deepcopy(trained()).train().requires_grad_(True)


def main(steps: int) -> None:
    """Train and write the autoencoder."""
    torch.manual_seed(9)
    shown = examples()
    train(Narrow(), shown, steps)
