"""The paper's tables in small, of combinations never seen in training, from the shipped weights."""

import time
from collections.abc import Callable
from functools import cache

from PIL.Image import Image

from ...ip_adapter_core.attention.balance import BALANCES, OFF
from ...ip_adapter_core.settings.layer_weights import from_weight_type
from ...ip_adapter_core.small_world.drawing import draw, outlines, pastel
from ...ip_adapter_core.small_world.world import ATTRIBUTES, SHAPES, Scene
from . import host, probes
from .figures import plot, sheet
from .judge import READS
from .sampling import Wish, sampled
from .scores import COUNT, Scores, Subjects, agreement, crowd, halves, saturation, score, subjects
from .shelf import MODELS, scenes

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SHARES = tuple(READS)
STYLE, COMPOSITION = ("colour", "texture", "background"), ("shape", "size", "place")
SHOWN = 10
CARRIED = 0.95
"""The share of pictures in which an image prompt alone is to carry each attribute."""
RESULTS = MODELS / "RESULTS.md"
IMAGES = MODELS / "images"
HEAD = """# What the small world shows

Measured by `make evaluate` on {count} held-out scenes: combinations of shape, colour, texture and background that no
training saw, one noise seed, 20 DDIM steps, guidance 4. CLIP-I is the cosine of a picture with its reference, CLIP-T
with the reference's caption, both in the small world's own CLIP. The other columns say in how many pictures a
classifier reads the same attribute as in the reference.

![References, and what their image prompts alone make](images/carried.png)
![Reference, and what was made of it](images/grid.png)
![λ](images/weights.png)
"""


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _share(value: float) -> str:
    return f"{value:.0%}"


def _row(name: str, scores: Scores) -> list[str]:
    return [name, f"{scores.clip_i:.3f}", f"{scores.clip_t:.3f}", *(_share(scores.agrees[name]) for name in SHARES)]


def seeing(who: Subjects) -> str:
    """Table 0: what the encoder tells apart: linear probes on its embeddings, on all held-out combinations."""
    rows = []
    for name, share in probes.readable().items():
        rows.append([name, f"{share:.1%}", f"at least {probes.LEAST[name]:.0%}", _met(share >= probes.LEAST[name])])
    return table(["attribute", "read from the embedding", "wanted", ""], rows)


def _met(met: bool) -> str:
    return "met" if met else "**not met**"


def prompting(who: Subjects) -> str:
    """Table 1: what carries a picture's content: nothing, text, image, both; decoupled or not; 4 tokens or 16."""
    seen, silent = host.features(draw(who.scenes)), [""] * len(who.scenes)
    wishes = {
        "nothing (floor)": Wish(silent),
        "text only": Wish(who.texts),
        "image only, λ = 1: simple adapter": Wish(silent, seen, "simple"),
        "image only, λ = 1: base": Wish(silent, seen),
        "image only, λ = 1: plus": Wish(silent, seen, "plus"),
        "text and image, λ = 0.5: base": Wish(who.texts, seen, weight=0.5),
        "text and image, λ = 0.5: plus": Wish(who.texts, seen, "plus", weight=0.5),
    }
    rows = [_row(name, score(sampled(wish), who.scenes)) for name, wish in wishes.items()]
    rows.append(_row("the references themselves", score(draw(who.scenes), who.scenes)))
    rows.append(["by chance", "", "", *(_share(1 / len(READS[name])) for name in SHARES)])
    rows.append(["wanted of an image alone: base and plus", "", "", *([f"at least {CARRIED:.0%}"] * len(SHARES))])
    return table(["asked for", "CLIP-I", "CLIP-T", *SHARES], rows)


@cache
def sweep(who: Subjects, kind: str) -> list[tuple[float, Scores, Scores]]:
    """For each λ, the scores of pictures against the reference image, and against a text that disagrees with it."""
    seen = host.features(draw(who.scenes))
    rows = []
    for weight in WEIGHTS:
        pictures = sampled(Wish(who.contrary, seen, kind, weight))
        rows.append((weight, score(pictures, who.scenes), score(pictures, who.others)))
    return rows


def sweeping(who: Subjects) -> str:
    """Table 2: text and image disagree about everything; λ says who is heard."""
    rows = []
    for kind in ("base", "plus"):
        for weight, image, text in sweep(who, kind):
            values = (f"{image.clip_i:.3f}", f"{text.clip_t:.3f}", _share(image.mean), _share(text.mean))
            rows.append([kind, f"{weight:g}", *values])
    return table(
        ["adapter", "λ", "CLIP-I with the image", "CLIP-T with the text", "obeys the image", "obeys the text"], rows
    )


def controlling(who: Subjects) -> str:
    """Table 3: outlines of one scene, appearance of another, no text."""
    silent, seen = [""] * len(who.scenes), host.features(draw(who.scenes))
    lines = outlines(who.others)
    wishes = {
        "outlines only": Wish(silent, outlines=lines),
        "image only": Wish(silent, seen),
        "outlines and image": Wish(silent, seen, outlines=lines),
    }
    rows = []
    for name, wish in wishes.items():
        pictures = sampled(wish)
        control, image = agreement(pictures, who.others), agreement(pictures, who.scenes)
        layout = [_share(control[key]) for key in ("shape", "size", "place")]
        rows.append([name, *layout, *(_share(image[key]) for key in ("colour", "texture", "background"))])
    header = ["asked for", *(f"{key} of the outlines" for key in ("shape", "size", "place"))]
    return table([*header, *(f"{key} of the image" for key in ("colour", "texture", "background"))], rows)


def untouched(who: Subjects) -> str:
    """Table 4: λ = 0 against no adapter."""
    seen = host.features(draw(who.scenes))
    plain = sampled(Wish(who.texts))
    rows = []
    for kind in ("base", "plus"):
        same = bool((sampled(Wish(who.texts, seen, kind, weight=0.0)) == plain).all())
        rows.append([kind, "identical, every bit" if same else "DIFFERENT"])
    return table(["adapter installed at λ = 0", "pictures from text, against no adapter"], rows)


def tuning(who: Subjects) -> str:
    """Table 5: the same adapters, without training, on a base that was fine-tuned to pastel."""
    seen, silent = host.features(draw(who.scenes)), [""] * len(who.scenes)
    wishes = {
        "text, original base": Wish(who.texts),
        "text, tuned base": Wish(who.texts, tuned=True),
        "image only, original base": Wish(silent, seen),
        "image only, tuned base": Wish(silent, seen, tuned=True),
        "image only (plus), tuned base": Wish(silent, seen, "plus", tuned=True),
    }
    rows = []
    for name, wish in wishes.items():
        pictures = sampled(wish)
        rows.append(
            [name, f"{saturation(pictures):.3f}", *(_share(agreement(pictures, who.scenes)[key]) for key in ATTRIBUTES)]
        )
    true = draw(who.scenes)
    rows.append(
        [
            "the references, as they are / in pastel",
            f"{saturation(true):.3f} / {saturation(pastel(true)):.3f}",
            *[""] * 4,
        ]
    )
    return table(["asked for", "saturation", *(f"same {name}" for name in ATTRIBUTES)], rows)


def layering(who: Subjects) -> str:
    """Table 6: text and image disagree, and the image acts in some layers only; whose attributes are drawn."""
    seen = host.features(draw(who.scenes))
    wishes = {
        "all layers, λ = 1": Wish(who.contrary, seen, "plus"),
        "style transfer, λ = 1.5": Wish(who.contrary, seen, "plus", 1.5, layers=from_weight_type("style transfer")),
        "composition, λ = 1.5": Wish(who.contrary, seen, "plus", 1.5, layers=from_weight_type("composition")),
    }
    rows = []
    for name, wish in wishes.items():
        pictures = sampled(wish)
        for whose, theirs in (("image", who.scenes), ("text", who.others)):
            shares = agreement(pictures, theirs)
            rows.append([name, whose, *(_share(shares[key]) for key in (*STYLE, *COMPOSITION))])
    return table(["layers", "as in the", *STYLE, *COMPOSITION], rows)


def placing(who: Subjects) -> str:
    """Table 7: two references, one for each half of a picture of twice the width: what is in which half."""
    left, right = (host.features(draw(scenes)) for scenes in (who.scenes, who.others))
    pictures = sampled(Wish([""] * len(who.scenes), left, "plus", beside=right))
    rows = []
    for name, half, its, other in zip(
        ("left", "right"), halves(pictures), (who.scenes, who.others), (who.others, who.scenes), strict=True
    ):
        for whose, shown in (("its own", its), ("the other", other)):
            shares = agreement(half, shown)
            rows.append([name, whose, *(_share(shares[key]) for key in STYLE)])
    return table(["half", "as in reference", *STYLE], rows)


CROWDS = (1, 2, 4)
STEADY = 0.05
"""How far apart text agreement may lie, at one weight, with these numbers of references that disagree with the text."""


def balancing(who: Subjects) -> str:
    """Table 8: one weight, λ = 1, and 1, 2 or 4 references that disagree with the text: who obeys the text."""
    shown = crowd(who, max(CROWDS))
    first, *more = (host.features(draw(scenes)) for scenes in shown)
    rows = []
    for mode in BALANCES:
        wishes = [Wish(who.contrary, first, more=tuple(more[: count - 1]), balance=mode) for count in CROWDS]
        pictures = [sampled(wish) for wish in wishes]
        text, image = [score(one, who.others).mean for one in pictures], score(pictures[0], shown[0]).mean
        spread = max(text) - min(text)
        target = [""] * 2 if mode == OFF else [f"at most {100 * STEADY:.0f} points", _met(spread <= STEADY)]
        rows.append([mode, *map(_share, text), f"{100 * spread:.0f} points", *target, _share(image)])
    header = [f"obeys the text: {count} reference{'s' * (count > 1)}" for count in CROWDS]
    return table(["balance", *header, "apart", "wanted", "", "obeys the image: 1 reference"], rows)


TABLES: dict[str, Callable[[Subjects], str]] = {
    "0. What the encoder sees": seeing,
    "1. Text, image, both": prompting,
    "2. When text and image disagree": sweeping,
    "3. ControlNet and image prompt": controlling,
    "4. Text alone is untouched": untouched,
    "5. On a fine-tuned base": tuning,
    "6. Style and composition by layers": layering,
    "7. Regions": placing,
    "8. Balance": balancing,
}


def figures(who: Subjects) -> dict[str, Image]:
    """The pictures of the README: what was asked for and what came out; and how λ weighs image against text."""
    first = Subjects(who.scenes[:SHOWN], who.others[:SHOWN])
    shapes = [next(one for one in scenes("unseen") if one.objects[0].shape == shape) for shape in SHAPES]
    pair = {"reference": draw(shapes), "image prompt\nalone (base)": sampled(_alone(shapes))}
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
    return Wish([""] * len(shown), host.features(draw(shown)))


def meaning(maker: Callable[[Subjects], str]) -> str:
    """The explanation of a table, from the docstring of the function that makes it."""
    return (maker.__doc__ or "").split(": ", 1)[1]


def report(who: Subjects) -> str:
    """All tables as one page."""
    parts = [f"## {name}\n\n{meaning(maker)}\n\n{maker(who)}\n" for name, maker in TABLES.items()]
    return "\n".join([HEAD.format(count=len(who.scenes)), *parts])


def main(count: int = COUNT) -> None:
    """Make the tables, and the pictures that the README shows."""
    started, who = time.time(), subjects(count)
    page = report(who)
    print(page)
    RESULTS.write_text(page, encoding="utf-8")
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, picture in figures(who).items():
        picture.save(IMAGES / f"{name}.png", optimize=True)
    print(f"{RESULTS} and {IMAGES}, {time.time() - started:.0f} s")
