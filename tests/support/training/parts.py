"""Small parts to train with: a frozen base without a host, examples, a network, and whole runs of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.layers.layout import Geometry
from comfyui_ip_adapter.ip_adapter_core.training.examples import TensorExamples
from comfyui_ip_adapter.ip_adapter_core.training.interface import Outcome, Step
from comfyui_ip_adapter.ip_adapter_core.training.loop import train
from comfyui_ip_adapter.ip_adapter_core.training.settings import Settings

FEATURES, CONTEXT = 6, 5
QUICK = Settings(steps=6, batch=4, learning_rate=0.01, save_every=2)
# By several processes.
SHARED = Settings(steps=6, batch=4, learning_rate=0.01, accumulate=2, clip=0.5, ema=0.9, decay=True)


class ToyBase:
    """A model whose estimate of the clean latents is what the image says, in part."""

    prediction = "eps"
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []

    def sigmas(self, shares: Tensor) -> Tensor:
        return 0.5 + shares

    def noised(self, latents: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
        return latents + noise * sigmas[:, None, None, None]

    def denoised(self, noisy: Tensor, sigmas: Tensor, text: Mapping[str, Tensor], image: Any) -> Tensor:
        self.seen.append({"noisy": noisy, "sigmas": sigmas, "image": image.detach(), **text})
        said = text["context"].mean(dim=(1, 2))[:, None, None, None]
        return 0.1 * noisy + said * 0.01 + image.reshape(len(noisy), 4, 1, 1)


def examples(count: int = 12, counts: float | None = None) -> TensorExamples:
    """Pictures of one colour each, which their features tell; counts: how much an error counts everywhere."""
    random = torch.Generator().manual_seed(3)
    features = torch.randn(count, FEATURES, generator=random)
    colours = features[:, :4] * 0.7 + 0.2
    rows = {
        "latents": colours[:, :, None, None].expand(count, 4, 3, 3).half(),
        "features": features.half(),
        "context": torch.randn(count, 2, CONTEXT, generator=random) + 10,
    }
    if counts is not None:
        rows["counts"] = torch.full((count, 1, 3, 3), counts)
    return TensorExamples(rows, {"features": torch.zeros(1, FEATURES), "context": torch.zeros(1, 2, CONTEXT)})


def network(seed: int = 0) -> nn.Module:
    """Features -> a colour."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.GELU(), nn.Linear(8, 4))


def same(one: nn.Module, other: nn.Module) -> bool:
    """Bit for bit."""
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def run(settings: Settings = QUICK, **more: Any) -> Outcome:
    """A whole training of the network on the toy base."""
    return train(network(), ToyBase(), examples(), settings, **more)


def base_weights(geometry: Geometry, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Random to_k and to_v (width, context) of every layer of a base model."""
    random = torch.Generator().manual_seed(seed)
    shapes = [(width, geometry.context) for width in geometry.widths]
    return [(torch.randn(shape, generator=random), torch.randn(shape, generator=random)) for shape in shapes]


class Stopped(Exception):
    """What the user's interruption raises."""


def stopping(number: int) -> Callable[[Step], None]:
    """What ends a training after the step of this number."""

    def stop(step: Step) -> None:
        if step.number == number:
            raise Stopped

    return stop
