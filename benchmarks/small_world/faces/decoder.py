"""Train the autoencoder of the model that draws portraits: the shipped one, taught people."""

import torch

from ....ip_adapter_core.small_world.portraits import draw, sketch
from .. import autoencoder
from ..shelf import kept
from . import base, pictures

PICTURES = 900


def examples() -> dict[str, torch.Tensor]:
    """Sketches of portraits and their pictures, bytes."""
    shown = pictures.portraits("train")[:: pictures.EACH][:PICTURES]
    return {"small": autoencoder.drawn(shown, sketch), "large": autoencoder.drawn(shown, draw)}


def main(steps: int) -> None:
    """Train it and put it into the checkpoint."""
    torch.manual_seed(65)
    shown = kept("faces_drawn", examples)
    pairs = shown["small"], shown["large"]
    autoencoder.train(autoencoder.learner(), pairs, steps, name="faces_decoder", file=base.FILE)
