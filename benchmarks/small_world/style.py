"""Fine-tune the small world's model to another style: a LoRA of all its layers, on pastel pictures."""

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
RANK = 4
PICTURES = 4_000


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


def train(steps: int, batch: int = BATCH, rate: float = 2e-3) -> dict[str, Tensor]:
    """Predict v of pastel pictures; only the thin matrices learn."""
    torch.manual_seed(6)
    unet, text = base.trained()
    images, signal, encode = pastel(pictures("train")[:PICTURES] / 255) * 2 - 1, base.noise_levels(), words.tokenizer()
    ids, empty = words.padded(encode(captions("train", silence=0.15)[:PICTURES])), words.padded(encode([""]))
    added = adapted(unet)
    thin = [weight for one in added.values() for weight in one.parameters()]
    descent = Descent("style", thin, steps, rate)
    for _ in range(steps):
        rows = torch.randint(len(images), (batch,))
        said = torch.where(torch.rand(batch, 1) < 0.1, empty, ids[rows])
        t = base.timesteps(batch, signal)
        x, target = base.diffused(images[rows], signal[t])
        with plain_attention(), mixed_precision():
            predicted = unet(x, t, text(said))
        loss = (predicted.float() - target).square().mean()
        descent.step(loss)
    descent.end()
    found = {name: one.published() for name, one in added.items()}
    return {f"diffusion_model.{name}.{key}": value for name, one in found.items() for key, value in one.items()}


def main(steps: int) -> None:
    """Train and write the LoRA."""
    publish(FILE, train(steps))
