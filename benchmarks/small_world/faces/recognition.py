"""Train the network that recognises the small world's people, in ONNX as the published ones."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from ....ip_adapter_core.faces.features import WIDTH
from ....ip_adapter_core.faces.networks import SIDE
from ..descent import Descent
from . import crowd
from .crowd import PEOPLE, SHOTS, convolved

FILE = crowd.FOLDER / "recognition.onnx"
BATCH = 128
SCALE, MARGIN = 20.0, 0.25


def network() -> nn.Sequential:
    """Crops (n, 3, 112, 112), -1 to 1 -> (n, 512)."""
    return nn.Sequential(
        nn.AvgPool2d(crowd.POOLED),
        *convolved(3, 32),
        *convolved(32, 48, stride=2),
        *convolved(48, 64),
        *convolved(64, 64, stride=2),
        *convolved(64, 32, stride=2),
        nn.Flatten(),
        nn.Linear(32 * 16, WIDTH),
    )


def train(steps: int, rate: float = 3e-3) -> nn.Module:
    """Tell the people apart by the angle between embeddings, with a margin (CosFace, arXiv 1801.09414)."""
    crops = crowd.shown()["crops"]
    torch.manual_seed(62)
    model = network()
    who, centres = torch.arange(len(crops)) // SHOTS, nn.Parameter(torch.randn(PEOPLE, WIDTH))
    descent = Descent("faces_recogniser", [*model.parameters(), centres], steps, rate, decay=0.05, warm=0.1)
    for _ in range(steps):
        rows = torch.randint(len(crops), (BATCH,))
        x = crowd.disturbed(crops[rows].float() / 255) * 2 - 1
        near = normalize(model[1:](x)) @ normalize(centres).T
        wanted = torch.zeros_like(near).scatter_(1, who[rows, None], MARGIN)
        descent.step(cross_entropy(SCALE * (near - wanted), who[rows]))
    descent.end()
    return model


def main(steps: int) -> None:
    """Train and write it."""
    crowd.export(train(steps), FILE, torch.zeros(1, 3, SIDE, SIDE), ["embedding"], {0: "faces"})
