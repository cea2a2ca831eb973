"""The portraits that are trained on and asked for."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from ....ip_adapter_core.small_world.canvas import grid
from ....ip_adapter_core.small_world.people import Portrait, caption, person, portrait, posed
from ....ip_adapter_core.small_world.portraits import points, sketch
from ....ip_adapter_core.small_world.world import BACKGROUNDS, COLOURS, SIDE
from ..autoencoder import drawn
from ..shelf import COUNTS, kept

EACH = 3
"""Portraits of every person."""
PEOPLE = {"train": max(1, min(8_000, COUNTS["train"] // EACH)), "unseen": 400}
_REACH, _MORE = 2.0, 6.0  # pixels of a sketch around eyes, nose and mouth; how much more an error counts there
SERIES = {"train": 41, "unseen": 43}


@cache
def portraits(split: str) -> list[Portrait]:
    """Those of a split, EACH of one person after the other; people of `unseen` have held-out traits."""
    seed, unseen = SERIES[split], split == "unseen"
    people = [person(seed, n, unseen=unseen) for n in range(PEOPLE[split])]
    return [portrait(who, seed + 10, EACH * n + shot) for n, who in enumerate(people) for shot in range(EACH)]


def captions(split: str, silence: float = 0.0, nameless: float = 0.0, version: int = 0) -> list[str]:
    """What they show; see `people.caption`."""
    dice = np.random.default_rng((SERIES[split], version))
    return [caption(one, dice, silence, nameless) for one in portraits(split)]


def latents(split: str) -> Tensor:
    """Their sketches, (n, 3, 32, 32), -1 to 1; drawn once and written to disk."""
    shown = kept(f"faces_{split}", lambda: {"pictures": drawn(portraits(split), sketch)})["pictures"]
    return (shown.float() / 127.5 - 1).half()


def counts(split: str) -> Tensor:
    """How much an error counts at each place of the sketches, (n, 1, 32, 32): most of all in the face.

    Its few pixels say what a person shows, and are hardly a part of the picture's error.
    """
    x, y = grid(SIDE)
    near = torch.zeros(len(portraits(split)), SIDE, SIDE, dtype=torch.half)
    for point in points(portraits(split), SIDE).unbind(dim=1):
        u, v = point[:, :, None, None].unbind(dim=1)
        near = torch.maximum(near, torch.exp(-((x - u).square() + (y - v).square()) / (2 * _REACH**2)).half())
    return (1 + _MORE * near)[:, None]


def others(shown: list[Portrait]) -> list[Portrait]:
    """For each of these portraits another one of the same person."""
    return [shown[n - n % EACH + (n % EACH + 1) % EACH] for n in range(len(shown))]


def elsewhere(shown: list[Portrait]) -> list[Portrait]:
    """For each of these portraits the same person and face in other clothes and before another background."""
    dice = np.random.default_rng(45)
    looks = [
        (one.expression, one.glasses, str(dice.choice(list(COLOURS))), str(dice.choice(BACKGROUNDS))) for one in shown
    ]
    return [posed(one.person, look, dice) for one, look in zip(shown, looks, strict=True)]
