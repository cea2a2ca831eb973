"""The loss of training: the published squared error, whatever the model predicts."""

from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.training.objective import loss


def tensors(count: int = 3) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(count, 4, 5, 5, generator=random) for _ in range(3)]


def column(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def as_noise(x: Tensor, output: Tensor, sigma: Tensor) -> Tensor:
    return x - output * sigma


def as_v(x: Tensor, output: Tensor, sigma: Tensor) -> Tensor:
    return x / (sigma**2 + 1) - output * sigma / (sigma**2 + 1).sqrt()


PUBLISHED: dict[str, tuple[Any, Any, Any]] = {  # noised latents, target, and what the host makes of an output
    "eps": (lambda clean, noise, s: clean + noise * s, lambda clean, noise, s: noise, as_noise),
    "v": (
        lambda clean, noise, s: clean + noise * s,
        lambda clean, noise, s: (noise - s * clean) / (s**2 + 1).sqrt(),  # α·ε - σ'·x, α = 1/√(σ²+1), σ' = σ·α
        as_v,
    ),
    "flow": (lambda clean, noise, s: s * noise + (1 - s) * clean, lambda clean, noise, s: noise - clean, as_noise),
}


@pytest.mark.parametrize("prediction", PUBLISHED)
def test_the_objective_is_the_published_squared_error(prediction: str) -> None:
    noised, target, denoised = PUBLISHED[prediction]
    clean, noise, output = tensors()
    sigmas = torch.tensor([0.03, 0.4, 0.97 if prediction == "flow" else 14.0])
    s = column(sigmas)
    direct = (output - target(clean, noise, s)).square().mean()
    found = loss(prediction, denoised(noised(clean, noise, s), output, s), clean, sigmas)
    torch.testing.assert_close(found, direct, rtol=1e-4, atol=0)


def test_an_error_counts_as_much_as_is_said_of_its_place() -> None:
    clean, denoised, _ = tensors()
    counts = torch.rand(3, 1, 5, 5, generator=torch.Generator().manual_seed(1))
    sigmas = torch.tensor([0.03, 0.4, 14.0])
    scaled = clean + (denoised - clean) * counts.sqrt()
    torch.testing.assert_close(loss("v", denoised, clean, sigmas, counts), loss("v", scaled, clean, sigmas))
