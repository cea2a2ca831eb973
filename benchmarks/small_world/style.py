"""Fine-tune the small world's model to another style: a LoRA of all its layers, on pastel pictures.

What it should make of a noisy pastel picture is known: the style is a factor and a sum, so that the picture without
them is one the model knows, in more noise; what the model makes of that, in pastel again, is the aim. The pictures
themselves would teach the same on average, by errors that are mostly noise which nobody can foretell.
"""

from copy import deepcopy
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...ip_adapter_core.small_world.drawing import pastel
from . import base, words
from .descent import Descent
from .shelf import COUNTS, MODELS, captions, mixed_precision, pictures, plain_attention, publish

FILE = MODELS / "loras" / "small_world_pastel.safetensors"
BATCH = min(48, COUNTS["train"])
RANK = 8
PICTURES = 4_000
_FACTOR = float(pastel(torch.ones(())) - pastel(torch.zeros(())))  # of latents, which are pictures from -1 to 1
_SUM = float(2 * pastel(torch.tensor(0.5)) - 1)  # what a latent of 0 becomes


class LowRank(nn.Module):
    """A weight plus a product of two thin matrices (arXiv 2106.09685); of a convolution, of its weight as a matrix."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        outer, *inner = weight.shape
        self.inner = inner
        self.up = nn.Parameter(torch.zeros(outer, RANK))
        self.down = nn.Parameter(torch.randn(RANK, prod(inner)) / prod(inner) ** 0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """(outer, inner…) -> the same."""
        return weight + (self.up @ self.down).view_as(weight)

    def published(self) -> dict[str, Tensor]:
        """Its tensors as LoRA files name and shape them."""
        up = self.up.view(*self.up.shape, *[1] * len(self.inner[1:]))
        return {
            "lora_up.weight": up,
            "lora_down.weight": self.down.view(RANK, *self.inner),
            "alpha": torch.tensor(float(RANK)),
        }


def adapted(unet: nn.Module) -> dict[str, LowRank]:
    """Put a LoRA on every linear layer and convolution of the model, in place; by the layer's name."""
    layers = {name: layer for name, layer in unet.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))}
    added = {name: LowRank(layer.weight) for name, layer in layers.items()}
    for name, layer in layers.items():
        parametrize.register_parametrization(layer, "weight", added[name])
    return added


@dataclass(frozen=True)
class Original:
    """The model as it was.

    unet: of it; predicts v.
    signal: the share of the pictures in the variance at each of its timesteps.
    """

    unet: nn.Module
    signal: Tensor

    @torch.no_grad()
    def aim(self, noisy: Tensor, signal: Tensor, context: Tensor) -> Tensor:
        """v of pastel pictures (n, c, h, w) in noise, as the model that it was would have it; signal: (n,)."""
        a = signal[:, None, None, None]
        plain = (noisy / a.sqrt() - _SUM) / _FACTOR  # a picture that the model knows, in noise
        own = 1 / (1 + (1 - a) / (a * _FACTOR**2))  # whose signal has this share
        at = self._timesteps(own.flatten())
        given = plain * own.sqrt()
        picture = own.sqrt() * given - (1 - own).sqrt() * self.unet(given, at, context).float()
        return (a.sqrt() * noisy - (_FACTOR * picture + _SUM)) / (1 - a).sqrt()

    def _timesteps(self, wanted: Tensor) -> Tensor:
        """Those of these shares, between whole ones too."""
        falling = self.signal.flip(0).contiguous()
        after = torch.searchsorted(falling, wanted).clamp(1, len(falling) - 1)
        low, high = falling[after - 1], falling[after]
        return len(falling) - 1 - (after - 1 + ((wanted - low) / (high - low)).clamp(0, 1))


def train(steps: int, batch: int = BATCH, rate: float = 2e-3) -> dict[str, Tensor]:
    """Predict v of pastel pictures; only the thin matrices learn."""
    torch.manual_seed(6)
    unet, text = base.trained()
    images, signal, encode = pastel(pictures("train")[:PICTURES] / 255) * 2 - 1, base.noise_levels(), words.tokenizer()
    original = Original(deepcopy(unet), signal)
    ids, empty = words.padded(encode(captions("train", silence=0.15)[:PICTURES])), words.padded(encode([""]))
    added = adapted(unet)
    thin = [weight for one in added.values() for weight in one.parameters()]
    descent = Descent("style", thin, steps, rate)
    for _ in range(steps):
        rows = torch.randint(len(images), (batch,))
        said = torch.where(torch.rand(batch, 1) < 0.1, empty, ids[rows])
        t = base.timesteps(batch, signal)
        x, _ = base.diffused(images[rows], signal[t])
        with plain_attention(), mixed_precision():
            context = text(said)
            target = original.aim(x, signal[t], context)
            predicted = unet(x, t, context)
        loss = (predicted.float() - target).square().mean()
        descent.step(loss)
    descent.end()
    found = {name: one.published() for name, one in added.items()}
    return {f"diffusion_model.{name}.{key}": value for name, one in found.items() for key, value in one.items()}


def main(steps: int) -> None:
    """Train and write the LoRA."""
    publish(FILE, train(steps))
