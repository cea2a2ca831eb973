"""The whole recipe in order: vocabulary, CLIP, judge, text-to-image model, autoencoder, adapters, ControlNet, style;
then the people: their model, the networks that find and recognise faces, and the adapters of faces.

It may be stopped: what was made is not made again. Without the shelf it begins anew.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from . import adapters, autoencoder, base, clip, controlnet, echo, history, judge, style, words
from .faces import adapter as face_adapter
from .faces import base as face_base
from .faces import decoder as face_decoder
from .faces import detection as face_detection
from .faces import judge as face_judge
from .faces import recognition as face_recognition
from .shelf import FOLDER

DONE = FOLDER / "done"


class Part(NamedTuple):
    """A part of the recipe.

    name: of its record; steps: how long it is trained; make: trains and writes it, in so many steps.
    """

    name: str
    steps: int
    make: Callable[[int], None]


def parts() -> Iterator[Part]:
    """What is trained, in order: later parts read what earlier ones wrote."""
    for cycle, steps in enumerate(clip.CYCLES):
        yield Part(f"clip_{cycle}", steps, partial(clip.main, cycle=cycle))
    yield Part("judge", 1200, judge.main)
    for cycle, steps in enumerate(base.CYCLES):
        yield Part(f"base_{cycle}", steps, partial(base.main, cycle=cycle))
    yield Part("autoencoder", 3000, autoencoder.main)
    for kind in adapters.READS:
        yield Part(f"echo_{kind}", echo.STEPS, partial(echo.main, kind))
        yield Part(f"adapter_{kind}", adapters.STEPS, partial(adapters.main, kind))
    yield Part("controlnet", 1200, controlnet.main)
    yield Part("style", 600, style.main)
    for cycle, steps in enumerate(face_base.CYCLES):
        yield Part(f"faces_base_{cycle}", steps, partial(face_base.main, cycle=cycle))
    yield Part("faces_decoder", 700, face_decoder.main)
    yield Part("faces_judge", 2000, face_judge.main)
    yield Part("faces_recogniser", 1500, face_recognition.main)
    yield Part("faces_detector", 2500, face_detection.main)
    for kind in face_adapter.KINDS:
        yield Part(f"faces_{kind}", face_adapter.STEPS, partial(face_adapter.main, kind))


def once(part: Part, steps: int) -> None:
    """Make a part, unless it was made in so many steps before."""
    mark = DONE / f"{part.name}_{steps}"
    if mark.exists():
        logging.info("%s was made before", part.name)
        return
    part.make(steps)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()


def main(limit: int = sys.maxsize) -> None:
    """Make every file that the package ships, each in at most `limit` steps, and say how it went."""
    words.main()
    for part in parts():
        once(part, min(part.steps, limit))
    history.main()
    print(history.PAGE.read_text(encoding="utf-8"))
