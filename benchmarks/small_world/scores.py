"""What is evaluated, and how pictures are scored: CLIP-I, CLIP-T, and the attributes that the judge reads."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, interpolate

from ...ip_adapter_core.small_world.drawing import draw
from ...ip_adapter_core.small_world.world import ATTRIBUTES, SIDE, Object, Scene, caption, scene
from . import clip, judge, words
from .shelf import SERIES, scenes

COUNT = 96


@dataclass(frozen=True, eq=False)
class Subjects:
    """References with their captions, and other scenes that share none of their attributes."""

    scenes: list[Scene]
    others: list[Scene]

    @property
    def texts(self) -> list[str]:
        """Captions of the references."""
        return [caption(one) for one in self.scenes]

    @property
    def contrary(self) -> list[str]:
        """Captions that disagree with the references in every attribute."""
        return [caption(one) for one in self.others]


class Scores(NamedTuple):
    """Scores of pictures: CLIP-I, CLIP-T, and for each attribute the share of pictures that have the scenes' choice."""

    clip_i: float
    clip_t: float
    agrees: Mapping[str, float]

    @property
    def mean(self) -> float:
        """The mean over the four attributes."""
        return sum(self.agrees[name] for name in ATTRIBUTES) / len(ATTRIBUTES)


def subjects(count: int = COUNT) -> Subjects:
    """The first held-out scenes, and for each the next one that differs in shape, colour, texture and background."""
    pool = scenes("unseen")
    chosen = pool[:count]
    return Subjects(chosen, [next(b for b in pool[n + 1 :] if _contrary(a, b)) for n, a in enumerate(chosen)])


def couples(count: int) -> list[Scene]:
    """Scenes of two objects that differ in shape, colour and texture, each of a combination that no training saw."""
    drawn = (scene(SERIES["unseen"], number, unseen=True, objects=2) for number in itertools.count())
    different = (one for one in drawn if not set(_look(one.objects[0])) & set(_look(one.objects[1])))
    return list(itertools.islice(different, count))


def _look(thing: Object) -> tuple[str, str, str]:
    return thing.shape, thing.colour, thing.texture


def crowd(who: Subjects, count: int) -> list[list[Scene]]:
    """References, `count` for each text: the first scenes that disagree with it in every attribute."""
    pool = scenes("unseen")
    chosen = [[one for one in pool[n:] if _contrary(one, said)][:count] for n, said in enumerate(who.others)]
    return [list(together) for together in zip(*chosen, strict=True)]


def _contrary(a: Scene, b: Scene) -> bool:
    mine, theirs = judge.answers([a]), judge.answers([b])
    return all(bool(mine[name] != theirs[name]) for name in ATTRIBUTES)


def score(pictures: Tensor, reference: list[Scene], texts: list[str] | None = None) -> Scores:
    """How near pictures are to reference scenes, and to texts (the references' captions by default)."""
    model = clip.trained()
    with torch.no_grad():
        image, other = (model.encode_image(clip.normalised(shrunk(x))) for x in (pictures, draw(reference)))
        text = model.encode_text(words.tokenizer()(texts or [caption(one) for one in reference]))
    return Scores(
        cosine_similarity(image, other).mean().item(),
        cosine_similarity(image, text).mean().item(),
        agreement(pictures, reference),
    )


def shrunk(pictures: Tensor) -> Tensor:
    """Pictures (n, 3, h, w) as the encoder and the judge read them, (n, 3, 32, 32)."""
    small = interpolate(pictures, size=(SIDE, SIDE), mode="bicubic", antialias=True)
    return small.clamp(0, 1)


def agreement(pictures: Tensor, reference: list[Scene]) -> dict[str, float]:
    """The share of pictures in which the judge reads the reference's choice, for each attribute."""
    return agreed(judge.trained(), pictures, judge.answers(reference))


def agreed(reader: judge.Judge, pictures: Tensor, right: Mapping[str, Tensor]) -> dict[str, float]:
    """The share of pictures in which a judge reads the right choice, for each attribute; right: as `judge.answers`."""
    with torch.no_grad():
        read = reader(shrunk(pictures))
    return {name: (read[name].argmax(dim=1) == right[name]).float().mean().item() for name in read}


def saturation(pictures: Tensor) -> float:
    """The mean difference of a pixel's largest and smallest channel."""
    return (pictures.amax(dim=1) - pictures.amin(dim=1)).mean().item()
