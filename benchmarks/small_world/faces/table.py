"""TABLE of the adapters of faces: who is in the pictures comes from a face, all else from the text."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ....ip_adapter_core.small_world.people import IDENTITY, LOOK, Portrait, caption
from ....ip_adapter_core.small_world.portraits import draw
from ..scores import Subjects, agreed
from ..wanted import Table, Wanted, share
from . import judge, pictures
from .sampling import portrayed, recognised

GOAL = 0.85
WITH_FACE = ("text and face", "portrait", "portrait of two", "FaceID-Plus")
FROM_PICTURE = ("expression", "glasses")
"""What FaceID-Plus takes from the face's picture."""


class Shown(NamedTuple):
    """Portraits of people with traits that no model and no adapter was shown, in the same order.

    first, second: references. wanted: what is asked for, another portrait of each.
    """

    first: list[Portrait]
    second: list[Portrait]
    wanted: list[Portrait]


def shown(count: int) -> Shown:
    """Those of so many people."""
    ours = pictures.portraits("unseen")[: count * pictures.EACH]
    return Shown(*(ours[n :: pictures.EACH] for n in range(3)))


def agreement(drawn: Tensor, wanted: Sequence[Portrait]) -> dict[str, float]:
    """The share of portraits in which the judge reads what was wanted, for each attribute."""
    return agreed(judge.trained(), drawn, judge.answers(list(wanted)))


def facing(who: Subjects) -> Table:
    """Faces: what is read of the pictures, and who is in them.

    The texts ask for expression, glasses, clothes and background, and say nothing of the person. FaceID-Plus sees the
    face's picture too, so its texts ask for clothes and background alone: expression and glasses are wanted as in the
    picture. The last column is in how many pictures the recogniser finds the right one of all these people.
    """
    first, second, wanted = shown(len(who.scenes))
    as_seen = [
        replace(one, expression=face.expression, glasses=face.glasses) for face, one in zip(first, wanted, strict=True)
    ]
    texts = [caption(one, nameless=1.0) for one in wanted]
    scenes = [f"a person in a {one.clothes} shirt on a {one.background} background" for one in wanted]
    face, again = (recognised(draw(part)) for part in (first, second))
    made = {
        "text only": portrayed(texts),
        "text that describes the person": portrayed([caption(one) for one in wanted]),
        "text and face, λ = 0.5": portrayed(texts, [face], 0.5),
        "text and face": portrayed(texts, [face]),
        "face only": portrayed([""] * len(texts), [face]),
        "portrait": portrayed(texts, [face], kind="portrait"),
        "portrait of two": portrayed(texts, [face, again], kind="portrait"),
        "FaceID-Plus": portrayed(scenes, [face], kind="faceid_plusv2"),
        "other portraits of the same people": draw(wanted),
    }
    read = {name: agreement(drawn, as_seen if name == "FaceID-Plus" else wanted) for name, drawn in made.items()}
    right = {name: identified(drawn, face.faces) for name, drawn in made.items()}
    rows = [[name, *(share(read[name][key]) for key in judge.READS), share(right[name])] for name in made]
    goals = [
        *(Wanted(f"text and face: {key} of the face", read["text and face"][key], GOAL) for key in IDENTITY),
        *(Wanted(f"text and face: {key} of the text", read["text and face"][key], GOAL) for key in LOOK),
        *(Wanted(f"FaceID-Plus: {key} of the picture", read["FaceID-Plus"][key], GOAL) for key in FROM_PICTURE),
        *(Wanted(f"{name}: the right person", right[name], GOAL) for name in WITH_FACE),
    ]
    return Table(["asked for, λ = 1", *judge.READS, "the right person"], rows, goals)


def identified(drawn: Tensor, faces: Tensor) -> float:
    """In how many pictures the nearest of all faces (n, 512) is the one of their own row."""
    best = (recognised(drawn).faces @ faces.T).max(dim=1)
    right = (best.indices == torch.arange(len(faces))) & (best.values > 0)  # 0 where no face was found
    return right.float().mean().item()
