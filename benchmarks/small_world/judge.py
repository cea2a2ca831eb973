"""Train the judge: a small convolutional network that reads the attributes of a picture with one object."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ...ip_adapter_core.small_world.drawing import pastel, sketch
from ...ip_adapter_core.small_world.world import ATTRIBUTES, PLACES, SIZES, Scene, scene
from .descent import Descent
from .shelf import COUNTS, MODELS, publish, read

FILE = MODELS / "judge" / "small_world_judge.safetensors"
BATCH = min(64, COUNTS["train"])
READS = {**ATTRIBUTES, "size": tuple(SIZES), "place": tuple(PLACES)}
PICTURES = min(16_000, COUNTS["train"])
_WIDTHS = (3, 32, 64, 96)


class Judge(nn.Module):
    """Pictures -> scores of every choice of every attribute."""

    def __init__(self) -> None:
        super().__init__()
        steps = [_step(a, b) for a, b in pairwise(_WIDTHS)]
        self.body = nn.Sequential(*steps, nn.Flatten(), nn.Linear(_WIDTHS[-1] * 16, 128), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(128, len(choices)) for name, choices in READS.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """(n, 3, 32, 32), 0 to 1: sketches, or pictures made small -> scores (n, choices) by attribute."""
        seen = self.body(pictures * 2 - 1)
        return {name: head(seen) for name, head in self.heads.items()}


def _step(a: int, b: int) -> nn.Sequential:
    first, second = nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, b, 3, stride=2, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.GroupNorm(8, b), second, nn.ReLU(), nn.GroupNorm(8, b))


def trained() -> Judge:
    """The shipped judge."""
    model = Judge()
    model.load_state_dict(read(FILE))
    return model.eval().requires_grad_(False)


def answers(scenes: list[Scene]) -> dict[str, Tensor]:
    """The right choice of every attribute, (n,) each, of scenes with one object."""
    return {name: torch.tensor([choices.index(_said(one, name)) for one in scenes]) for name, choices in READS.items()}


def _said(one: Scene, attribute: str) -> str:
    return one.background if attribute == "background" else getattr(one.objects[0], attribute)


def train(steps: int, batch: int = BATCH, rate: float = 2e-3) -> Judge:
    """Sketches of every combination, in both styles, slightly disturbed."""
    torch.manual_seed(4)
    scenes = [scene(5, n, unseen=n % 7 == 0, objects=1) for n in range(PICTURES)]
    shelf = torch.cat([sketch(scenes[n : n + 500]) for n in range(0, PICTURES, 500)])
    truth = answers(scenes)
    model = Judge()
    descent = Descent("judge", model.parameters(), steps, rate, decay=0.05, warm=0.1)
    for _ in range(steps):
        rows = torch.randint(PICTURES, (batch,))
        x = shelf[rows]
        x = torch.where(torch.rand(batch, 1, 1, 1) < 0.2, pastel(x), x)
        x = x + 0.1 * torch.rand(batch, 1, 1, 1) * torch.randn_like(x)
        scores = model(x)
        loss = torch.stack([cross_entropy(scores[name], truth[name][rows]) for name in READS]).sum()
        descent.step(loss)
    descent.end()
    return model


def main(steps: int) -> None:
    """Train and write the judge."""
    publish(FILE, train(steps).state_dict())
