"""Train the model that draws portraits: the text-to-image model, taught the people and their words."""

import torch
from torch import Tensor, nn

from .. import base, host, words
from ..shelf import COUNTS, MODELS
from . import pictures

FILE = MODELS / "checkpoints" / "small_world_faces.safetensors"
BATCH = min(48, COUNTS["train"])
_ROWS = "transformer.text_model.embeddings.token_embedding.weight"
CYCLES, NEAR = (1500, 1500, 1500, 1800), 2
"""Steps of the cycles, and the first in which an error in a face counts more."""


def numbers(texts: list[str]) -> Tensor:
    """The host's token numbers of texts, (n, 32)."""
    clip = host.checkpoint().clip
    return torch.tensor([[number for number, _ in clip.tokenize(text)["l"][0]] for text in texts])


def beginning() -> nn.ModuleList:
    """The shipped model, with rows for the words of portraits."""
    unet, text = base.trained()
    longer, known = base.Words(words.numbers()), text.state_dict()
    rows = nn.init.normal_(longer.get_parameter(_ROWS), std=0.02).detach()
    rows[: len(known[_ROWS])] = known[_ROWS]
    longer.load_state_dict(known | {_ROWS: rows})
    return nn.ModuleList([unet, longer])


def write(both: nn.ModuleList) -> None:
    """The checkpoint; an autoencoder in it stays."""
    base.write(both, FILE)


def main(steps: int, cycle: int = 0) -> None:
    """Train and write the model; a later cycle goes on from the weights that are there, at a new learning rate."""
    texts = torch.stack([numbers(pictures.captions("train", 0.15, 0.15, version)) for version in range(base.VERSIONS)])
    lesson = base.Lesson(pictures.latents("train"), texts, numbers([""]))
    if cycle >= NEAR:
        lesson = lesson._replace(counts=pictures.counts("train"))
    torch.manual_seed(60 + cycle)
    both = base.trained(FILE, words.numbers()) if cycle else beginning()
    both.train().requires_grad_(True)
    write(base.train(both, lesson, steps, name=f"faces_base_{cycle}", keep=write, batch=BATCH))
