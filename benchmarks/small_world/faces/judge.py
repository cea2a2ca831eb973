"""Train the judge of portraits: it reads who is shown and how."""

import torch
from torch import Tensor

from ....ip_adapter_core.small_world.people import IDENTITY, LOOK, Portrait, person, portrait
from ....ip_adapter_core.small_world.portraits import sketch
from .. import judge
from ..autoencoder import drawn
from ..shelf import COUNTS, MODELS, publish

FILE = MODELS / "judge" / "small_world_faces_judge.safetensors"
READS = {**IDENTITY, **LOOK}
SERIES, PEOPLE = 44, min(16_000, COUNTS["train"])
"""The people that it looks at, one portrait of each, of every combination."""


def trained() -> judge.Judge:
    """The shipped judge."""
    return judge.trained(FILE, READS)


def answers(shown: list[Portrait]) -> dict[str, Tensor]:
    """The right choice of every attribute, (n,) each."""
    return {name: torch.tensor([choices.index(_said(one, name)) for one in shown]) for name, choices in READS.items()}


def _said(one: Portrait, attribute: str) -> str:
    said: str = getattr(one.person if attribute in IDENTITY else one, attribute)
    return said


def main(steps: int) -> None:
    """Train and write the judge, on sketches."""
    shown = [portrait(person(SERIES, n, unseen=n % 7 == 0), SERIES + 10, n) for n in range(PEOPLE)]
    shelf = drawn(shown, sketch).float() / 255
    torch.manual_seed(64)
    model = judge.Judge(READS)
    judge.train(model, shelf, answers(shown), steps, "faces_judge")
    publish(FILE, model.state_dict())
