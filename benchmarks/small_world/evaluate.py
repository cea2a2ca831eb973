"""Measure the shipped weights: the tables, and the pictures that the README shows.

Each table is kept on the shelf under the weights that it was made of, so that a run that was stopped goes on.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from functools import partial
from inspect import getdoc
from pathlib import Path

from PIL.Image import Image

from ...ip_adapter_core.small_world.drawing import draw, outlines
from ...ip_adapter_core.small_world.world import SHAPES, Scene
from . import host
from .figures import plot, sheet
from .sampling import Wish, sampled
from .scores import COUNT, Subjects, subjects
from .shelf import FOLDER, MODELS, scenes
from .tables import TABLES, sweep
from .wanted import Table

SHOWN = 10
RESULTS = MODELS / "RESULTS.md"
IMAGES = MODELS / "images"
HEAD = """# What the small world shows

Measured by `make evaluate` on {count} held-out scenes: combinations of shape, colour, texture and background that no
training saw, each with noise of its own, 20 DDIM steps, guidance 4. CLIP-I is the cosine of a picture with its
reference, CLIP-T with the reference's caption, both in the small world's own CLIP. The other columns say in how many
pictures a classifier reads the same attribute as in the reference. Shares of {count} pictures are right to some
±{error} points.

![References, and what their image prompts alone make](images/carried.png)
![Reference, and what was made of it](images/grid.png)
![λ](images/weights.png)
"""


def figures(who: Subjects) -> dict[str, Image]:
    """The pictures of the README: what was asked for and what came out; and how λ weighs image against text."""
    first = Subjects(who.scenes[:SHOWN], who.others[:SHOWN])
    shapes = [next(one for one in scenes("unseen") if one.objects[0].shape == shape) for shape in SHAPES]
    pair = {"reference": draw(shapes), "image prompt\nalone (plus)": sampled(_alone(shapes))}
    seen, silent, lines = host.features(draw(first.scenes)), [""] * SHOWN, outlines(first.others)
    rows = {
        "reference": draw(first.scenes),
        "its caption alone": sampled(Wish(first.texts)),
        "image alone,\nbase (4 tokens)": sampled(Wish(silent, seen)),
        "image alone,\nplus (16 tokens)": sampled(Wish(silent, seen, "plus")),
        "image alone,\nsimple adapter": sampled(Wish(silent, seen, "simple")),
        "outlines given": lines,
        "with the image": sampled(Wish(silent, seen, outlines=lines)),
        "image alone,\npastel base": sampled(Wish(silent, seen, tuned=True)),
    }
    swept = sweep(who, "base")
    curves = {
        "obeys the image": [(weight, image.mean) for weight, image, _ in swept],
        "obeys the text": [(weight, text.mean) for weight, _, text in swept],
    }
    return {"carried": sheet(pair), "grid": sheet(rows), "weights": plot(curves, "λ")}


def _alone(shown: list[Scene]) -> Wish:
    return Wish([""] * len(shown), host.features(draw(shown)), "plus")


def section(name: str, maker: Callable[[Subjects], Table], who: Subjects) -> str:
    """A table under its name with its explanation, the docstring of the function that makes it."""
    return f"## {name}\n\n{getdoc(maker)}\n\n{maker(who)}\n"


def kept(place: Path, make: Callable[[], str]) -> str:
    """A part of the page that was made before, or is made now and kept."""
    if not place.exists():
        started, text = time.time(), make()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        logging.info("%s: %.0f s\n%s", place.stem, time.time() - started, text)
    return place.read_text(encoding="utf-8")


def fingerprint() -> str:
    """Of all that the tables are made of: the weights, and the code that measures."""
    weights = (path for kind in ("safetensors", "onnx") for path in MODELS.rglob(f"*.{kind}"))
    parts = [*sorted(weights), *sorted(Path(__file__).parent.rglob("*.py"))]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes())
    return digest.hexdigest()[:16]


def report(who: Subjects, chosen: tuple[int, ...]) -> str:
    """All tables as one page, or the chosen ones."""
    count, folder = len(who.scenes), FOLDER / "tables" / fingerprint()
    parts = []
    for number, (name, maker) in enumerate(TABLES.items()):
        if not chosen or number in chosen:
            parts.append(kept(folder / f"{count} {name}.md", partial(section, name, maker, who)))
    return "\n".join([HEAD.format(count=count, error=round(100 * (0.25 / count) ** 0.5)), *parts])


def main(count: int = COUNT, *chosen: int) -> None:
    """Make the tables, and the pictures that the README shows; with numbers, only these tables, printed."""
    started, who = time.time(), subjects(count)
    page = report(who, chosen)
    if chosen:
        print(page)
        return
    RESULTS.write_text(page, encoding="utf-8")
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, picture in figures(who).items():
        picture.save(IMAGES / f"{name}.png", optimize=True)
    print(f"{page}\n{RESULTS} and {IMAGES}, {time.time() - started:.0f} s")
