"""What an encoder sees: linear probes, fitted to sketches, read pictures' attributes from its embeddings.

The pictures are of combinations never trained on.

An adapter can carry only what its encoder tells apart, so this is looked at before any adapter is trained.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...ip_adapter_core.small_world.drawing import draw
from . import host
from .judge import READS, answers
from .shelf import pictures, scenes

LEAST = dict.fromkeys(READS, 0.97) | {"place": 0.95}
"""The share of held-out pictures in which a probe has to be right."""
PICTURES = 8_000
_DECAY = 1e-4


def probe(seen: Tensor, right: Tensor, unseen: Tensor, truth: Tensor) -> float:
    """Accuracy on `unseen` (m, width) of a logistic regression fitted to `seen` (n, width); right, truth: choices."""
    mean, spread = seen.mean(dim=0), seen.std(dim=0).clamp(min=1e-6)
    seen, unseen = (seen - mean) / spread, (unseen - mean) / spread
    weight = torch.zeros(seen.shape[1], int(right.max()) + 1, requires_grad=True)
    bias = torch.zeros(weight.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        wrong = cross_entropy(seen @ weight + bias, right) + _DECAY * weight.square().sum()
        wrong.backward()
        return wrong

    optimizer.step(loss)
    return ((unseen @ weight + bias).argmax(dim=1) == truth).float().mean().item()


def embeddings(split: str) -> tuple[Tensor, Mapping[str, Tensor]]:
    """Embeddings of a split's sketches with one object, and the right choice of every attribute."""
    single = [(row, one) for row, one in enumerate(scenes(split)) if len(one.objects) == 1][:PICTURES]
    shown = pictures(split)[[row for row, _ in single]].float() / 255
    return _embeds(shown), answers([one for _, one in single])


def asked() -> tuple[Tensor, Mapping[str, Tensor]]:
    """Embeddings of pictures of the held-out scenes, as people see them, and the right choice of every attribute."""
    held_out = scenes("unseen")
    parts = [_embeds(draw(held_out[n : n + 20])) for n in range(0, len(held_out), 20)]
    return torch.cat(parts), answers(held_out)


def _embeds(shown: Tensor) -> Tensor:
    seen = host.features(shown).embeds
    assert seen is not None
    return seen.float()


def readable() -> dict[str, float]:
    """For each attribute, in how many held-out pictures it can be read from the embedding."""
    (seen, right), (unseen, truth) = embeddings("train"), asked()
    return {name: probe(seen, right[name], unseen, truth[name]) for name in READS}


def main() -> None:
    """Print what the encoder sees."""
    for name, share in readable().items():
        print(f"{name:12}{share:.1%}, at least {LEAST[name]:.0%} wanted")
