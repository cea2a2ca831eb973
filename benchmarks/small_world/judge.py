"""Train the judge: a small convolutional network that reads the attributes of a picture with one object."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ...ip_adapter_core.small_world.drawing import pastel, sketch
from ...ip_adapter_core.small_world.world import ATTRIBUTES, PLACES, SIZES, Scene, scene
from .descent import Descent
from .shelf import COUNTS, MODELS, publish, read

FILE = MODELS / "judge" / "small_world_judge.safetensors"
BATCH = min(64, COUNTS["train"])
RATE = 2e-3
READS = {**ATTRIBUTES, "size": tuple(SIZES), "place": tuple(PLACES)}
PICTURES = min(16_000, COUNTS["train"])
_WIDTHS = (3, 32, 64, 96)


class Judge(nn.Module):
    """Pictures -> scores of every choice of every attribute."""

    def __init__(self, reads: Mapping[str, Sequence[str]] = READS) -> None:
        super().__init__()
        steps = [_step(a, b) for a, b in pairwise(_WIDTHS)]
        self.body = nn.Sequential(*steps, nn.Flatten(), nn.Linear(_WIDTHS[-1] * 16, 128), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(128, len(choices)) for name, choices in reads.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """(n, 3, 32, 32), 0 to 1: sketches, or pictures made small -> scores (n, choices) by attribute."""
        seen = self.body(pictures * 2 - 1)
        return {name: head(seen) for name, head in self.heads.items()}


def _step(a: int, b: int) -> nn.Sequential:
    first, second = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, stride=2, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.GroupNorm(8, b), second, nn.ReLU(), nn.GroupNorm(8, b))


def trained(file: Path = FILE, reads: Mapping[str, Sequence[str]] = READS) -> Judge:
    """A shipped judge."""
    model = Judge(reads)
    model.load_state_dict(read(file))
    return model.eval().requires_grad_(False)


def answers(scenes: list[Scene]) -> dict[str, Tensor]:
    """The right choice of every attribute, (n,) each, of scenes with one object."""
    return {name: torch.tensor([choices.index(_said(one, name)) for one in scenes]) for name, choices in READS.items()}


def _said(one: Scene, attribute: str) -> str:
    return one.background if attribute == "background" else getattr(one.objects[0], attribute)


def train(model: Judge, shelf: Tensor, truth: Mapping[str, Tensor], steps: int, name: str = "judge") -> None:
    """Pictures (n, 3, 32, 32), 0 to 1, in both styles, slightly disturbed; truth: as `answers`; name: of the record."""
    descent = Descent(name, model.parameters(), steps, RATE, decay=0.05, warm=0.1)
    for _ in range(steps):
        rows = torch.randint(len(shelf), (BATCH,))
        x = shelf[rows]
        x = torch.where(torch.rand(BATCH, 1, 1, 1) < 0.2, pastel(x), x)
        x = x + 0.1 * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(x)
        scores = model(x)
        loss = torch.stack([cross_entropy(scores[name], right[rows]) for name, right in truth.items()]).sum()
        descent.step(loss)
    descent.end()


def main(steps: int) -> None:
    """Train and write the judge, on sketches of every combination."""
    torch.manual_seed(4)
    shown = [scene(5, n, unseen=n % 7 == 0, objects=1) for n in range(PICTURES)]
    shelf = torch.cat([sketch(shown[n : n + 500]) for n in range(0, PICTURES, 500)])
    model = Judge()
    train(model, shelf, answers(shown), steps)
    publish(FILE, model.state_dict())
