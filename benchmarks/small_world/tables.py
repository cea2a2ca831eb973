"""TABLES: the paper's claims in small, of combinations never seen in training; each with what is wanted of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import cast

import torch
from torch import Tensor

from ...ip_adapter_core.attention.balance import BALANCES, OFF
from ...ip_adapter_core.layers.layout import Layer
from ...ip_adapter_core.prompts.features import Features
from ...ip_adapter_core.settings.layer_weights import LayerWeight, LayerWeights, from_weight_type
from ...ip_adapter_core.small_world.canvas import PICTURE
from ...ip_adapter_core.small_world.drawing import covers, draw, outlines, pastel
from ...ip_adapter_core.small_world.world import ATTRIBUTES, SIDE, Scene
from ...ip_adapter_core.vision.preprocess import FITS
from ...ip_adapter_core.vision.reference_mask import reference
from . import host, probes
from .faces.table import facing
from .judge import READS
from .sampling import Wish, sampled, shape
from .scores import Scores, Subjects, agreement, couples, crowd, saturation, score
from .wanted import Table, Wanted, share

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
CROWDS = (1, 2, 4)
SEEDS = (1, 2)
SHARES = tuple(READS)
THING = ("colour", "texture", "shape")
STYLE, COMPOSITION = ("colour", "texture", "background"), ("shape", "size", "place")


def _row(name: str, scores: Scores) -> list[str]:
    return [name, f"{scores.clip_i:.3f}", f"{scores.clip_t:.3f}", *(share(scores.agrees[name]) for name in SHARES)]


def _least(names: Sequence[str], shares: dict[str, float]) -> float:
    return min(shares[name] for name in names)


@cache
def read(who: Subjects) -> Features:
    """What the encoder reads of the references."""
    return host.features(draw(who.scenes))


def seeing(who: Subjects) -> Table:
    """What the encoder tells apart: linear probes on its embeddings, on all held-out combinations."""
    read = probes.readable()
    goals = [Wanted(name, right, probes.LEAST[name]) for name, right in read.items()]
    return Table(
        ["attribute", "read from the embedding"], [[name, f"{share:.1%}"] for name, share in read.items()], goals
    )


def prompting(who: Subjects) -> Table:
    """What carries a picture's content: nothing, text, image, both; decoupled or not; 4 tokens or 16.

    Each scene is drawn twice, from other noise.
    """
    seen, silent = read(who), [""] * len(who.scenes)
    alone = {kind: Wish(silent, seen, kind) for kind in ("simple", "base", "plus")}
    wishes = {
        "nothing (floor)": Wish(silent),
        "text only": Wish(who.texts),
        **{f"image only, λ = 1: {kind}": wish for kind, wish in alone.items()},
        "text and image, λ = 0.5: base": Wish(who.texts, seen, weight=0.5),
        "text and image, λ = 0.5: plus": Wish(who.texts, seen, "plus", weight=0.5),
    }
    found = {name: score(torch.cat([sampled(wish, seed) for seed in SEEDS]), who.scenes * len(SEEDS))
             for name, wish in wishes.items()}  # fmt: skip
    rows = [_row(name, scores) for name, scores in found.items()]
    rows.append(_row("the references themselves", score(draw(who.scenes), who.scenes)))
    rows.append(["by chance", "", "", *(share(1 / len(READS[name])) for name in SHARES)])
    simple, base, plus = (found[f"image only, λ = 1: {kind}"] for kind in alone)
    goals = [
        *(Wanted(f"{kind}, image only: {name}", of.agrees[name], 0.95) for kind, of in (("base", base), ("plus", plus))
          for name in SHARES),
        Wanted("base before simple: CLIP-I", base.clip_i, simple.clip_i),
        Wanted("plus before base: CLIP-I", plus.clip_i, base.clip_i),
    ]  # fmt: skip
    return Table(["asked for", "CLIP-I", "CLIP-T", *SHARES], rows, goals)


@cache
def sweep(who: Subjects, kind: str) -> list[tuple[float, Scores, Scores]]:
    """For each λ, the scores of pictures against the reference image, and against a text that disagrees with it."""
    seen = read(who)
    rows = []
    for weight in WEIGHTS:
        pictures = sampled(Wish(who.contrary, seen, kind, weight))
        rows.append((weight, score(pictures, who.scenes), score(pictures, who.others)))
    return rows


def sweeping(who: Subjects) -> Table:
    """Text and image disagree about everything; λ says who is heard, and little should be of neither."""
    rows, goals = [], []
    for kind in ("base", "plus"):
        for weight, image, text in sweep(who, kind):
            neither = max(0.0, 1 - image.mean - text.mean)
            values = (f"{image.clip_i:.3f}", f"{text.clip_t:.3f}", *map(share, (image.mean, text.mean, neither)))
            rows.append([kind, f"{weight:g}", *values])
            goals.append(Wanted(f"{kind}, λ = {weight:g}: from neither", neither, 0.1, most=True))
    header = ["adapter", "λ", "CLIP-I with the image", "CLIP-T with the text", "obeys the image", "obeys the text"]
    return Table([*header, "neither"], rows, goals)


def controlling(who: Subjects) -> Table:
    """Outlines of one scene, the look of another, no text."""
    silent, seen = [""] * len(who.scenes), read(who)
    lines = outlines(who.others)
    wishes = {
        "outlines only": Wish(silent, outlines=lines),
        "image only": Wish(silent, seen),
        "outlines and image": Wish(silent, seen, outlines=lines),
    }
    rows, goals = [], []
    for name, wish in wishes.items():
        pictures = sampled(wish)
        control, image = agreement(pictures, who.others), agreement(pictures, who.scenes)
        rows.append([name, *(share(control[key]) for key in COMPOSITION), *(share(image[key]) for key in STYLE)])
        goals = [Wanted(f"both: {key} of the outlines", control[key], 0.9) for key in COMPOSITION]
        goals += [Wanted(f"both: {key} of the image", image[key], 0.9) for key in STYLE]
    header = ["asked for", *(f"{key} of the outlines" for key in COMPOSITION)]
    return Table([*header, *(f"{key} of the image" for key in STYLE)], rows, goals)


def untouched(who: Subjects) -> Table:
    """Text alone: λ = 0 against no adapter."""
    seen = read(who)
    plain = sampled(Wish(who.texts))
    rows = []
    for kind in ("base", "plus"):
        same = bool((sampled(Wish(who.texts, seen, kind, weight=0.0)) == plain).all())
        rows.append([kind, "identical, every bit" if same else "DIFFERENT"])
    return Table(["adapter installed at λ = 0", "pictures from text, against no adapter"], rows)


def tuning(who: Subjects) -> Table:
    """The same adapters, without training, on a base that was fine-tuned to pastel."""
    seen, silent = read(who), [""] * len(who.scenes)
    wishes = {
        "text, original base": Wish(who.texts),
        "text, tuned base": Wish(who.texts, tuned=True),
        "image only, original base": Wish(silent, seen),
        "image only, tuned base": Wish(silent, seen, tuned=True),
        "image only (plus), original base": Wish(silent, seen, "plus"),
        "image only (plus), tuned base": Wish(silent, seen, "plus", tuned=True),
    }
    rows, shares = [], {}
    for name, wish in wishes.items():
        pictures = sampled(wish)
        shares[name] = agreement(pictures, who.scenes)
        rows.append([name, f"{saturation(pictures):.3f}", *(share(shares[name][key]) for key in ATTRIBUTES)])
    true = draw(who.scenes)
    as_they_are = f"{saturation(true):.3f} / {saturation(pastel(true)):.3f}"
    rows.append(["the references, as they are / in pastel", as_they_are, *[""] * len(ATTRIBUTES)])
    goals = []
    for name in ("text", "image only", "image only (plus)"):
        original, tuned = (shares[f"{name}, {base} base"] for base in ("original", "tuned"))
        goals += [
            Wanted(f"{name}: {key} lost by tuning", original[key] - tuned[key], 0.1, most=True) for key in ATTRIBUTES
        ]
    return Table(["asked for", "saturation", *(f"same {name}" for name in ATTRIBUTES)], rows, goals)


def layering(who: Subjects) -> Table:
    """Text and image disagree, and the image acts in some layers only; whose attributes are drawn."""
    seen = read(who)
    wishes = {
        "all layers, λ = 1": Wish(who.contrary, seen, "plus"),
        "style transfer, λ = 1.5": Wish(who.contrary, seen, "plus", 1.5, layers=from_weight_type("style transfer")),
        "composition, λ = 1.5": Wish(who.contrary, seen, "plus", 1.5, layers=from_weight_type("composition")),
    }
    rows, shares = [], {}
    for name, wish in wishes.items():
        pictures = sampled(wish)
        for whose, theirs in (("image", who.scenes), ("text", who.others)):
            shares[name, whose] = agreement(pictures, theirs)
            rows.append([name, whose, *(share(shares[name, whose][key]) for key in (*STYLE, *COMPOSITION))])
    _, style, composition = wishes
    goals = [
        Wanted("style: colour and texture of the image", _least(("colour", "texture"), shares[style, "image"]), 0.7),
        Wanted("style: shape, size and place of the text", _least(COMPOSITION, shares[style, "text"]), 0.9),
        Wanted(
            "composition: size and place of the image", _least(("size", "place"), shares[composition, "image"]), 0.7
        ),
        Wanted("composition: colour and texture of the text", _least(STYLE[:2], shares[composition, "text"]), 0.9),
    ]
    return Table(["layers", "as in the", *STYLE, *COMPOSITION], rows, goals)


def placing(who: Subjects) -> Table:
    """Two references of one object each, one for each half of a picture: what is in which half.

    The model paints one background in a picture, so both references have the same; each half is read before it alone.
    """
    both = couples(len(who.scenes))
    sides = [[_alone(scene, first) for scene in both] for first in (True, False)]
    left, right = (host.features(draw(scenes)) for scenes in sides)
    pictures = sampled(Wish([""] * len(both), left, "plus", more=(right,), masks=halves(SIDE)))
    empty = draw([replace(scene, objects=()) for scene in both])
    rows, goals = [], []
    for name, half, its, other in zip(("left", "right"), halves(PICTURE), sides, reversed(sides), strict=True):
        seen = torch.where(half > 0, pictures, empty)
        own, foreign = agreement(seen, its), agreement(seen, other)
        rows += [[name, "its own", *(share(own[key]) for key in THING)]]
        rows += [[name, "the other", *(share(foreign[key]) for key in THING)]]
        goals.append(Wanted(f"{name} half: its own colour, texture, shape", _least(THING, own), 0.85))
        goals.append(Wanted(f"{name} half: the other's", max(foreign[key] for key in THING), 0.05, most=True))
    return Table(["half", "as in reference", *THING], rows, goals)


def halves(side: int) -> Tensor:
    """Masks of the left and the right half of a picture, (2, 1, side, side)."""
    return torch.eye(2).repeat_interleave(side // 2, dim=1)[:, None, None].expand(-1, 1, side, -1)


def balancing(who: Subjects) -> Table:
    """One weight, λ = 1, and 1, 2 or 4 references that disagree with the text: who obeys the text."""
    shown = crowd(who, max(CROWDS))
    first, *more = (host.features(draw(scenes)) for scenes in shown)
    rows, goals = [], []
    for mode in BALANCES:
        wishes = [Wish(who.contrary, first, more=tuple(more[: count - 1]), balance=mode) for count in CROWDS]
        pictures = [sampled(wish) for wish in wishes]
        text, image = [score(one, who.others).mean for one in pictures], score(pictures[0], shown[0]).mean
        spread = max(text) - min(text)
        rows.append([mode, *map(share, text), f"{100 * spread:.0f} points", share(image)])
        if mode != OFF:
            goals.append(Wanted(f"{mode}: text agreement apart, between 1, 2, 4 references", spread, 0.05, most=True))
    header = [f"obeys the text: {count} reference{'s' * (count > 1)}" for count in CROWDS]
    return Table(["balance", *header, "apart", "obeys the image: 1 reference"], rows, goals)


def masking(who: Subjects) -> Table:
    """References of two objects, one of them masked: what is drawn without a text is like which.

    base reads the whole square, in which the other object is grey; plus reads no patch of it either.
    """
    both = couples(len(who.scenes))
    rows, goals = [], []
    for kind, (name, first) in product(("base", "plus"), {"left": True, "right": False}.items()):
        alone, other = ([_alone(scene, which) for scene in both] for which in (first, not first))
        pictures = sampled(Wish([""] * len(both), _read_in_part(both, covers(alone)), kind))
        for whose, like in (("read", alone), ("other", other)):
            shares = agreement(pictures, like)
            rows.append([kind, name, whose, *(share(shares[key]) for key in THING)])
            if whose == "read":
                goals += [Wanted(f"{kind}, {name}: its {key}", shares[key], 0.85) for key in THING]
    return Table(["adapter", "object that is read", "as the", *THING], rows, goals)


def _read_in_part(scenes: list[Scene], mask: Tensor) -> Features:
    """Features of pictures of which only what is white in a mask is read, (n, h, w)."""
    shown = reference(draw(scenes).movedim(1, -1), mask)
    seen = host.features(shown.images.movedim(-1, 1))
    return seen._replace(kept=shown.kept(SIDE, FITS[0], cast(Tensor, seen.hidden).shape[1]))


def _alone(scene: Scene, first: bool) -> Scene:
    return replace(scene, objects=scene.objects[:1] if first else scene.objects[1:])


def carrying(who: Subjects) -> Table:
    """Text and image disagree, and the image acts in one layer only, at λ = 2: which of its attributes are drawn."""
    seen, rows = read(who), []
    for number in range(len(shape().widths)):
        pictures = sampled(Wish(who.contrary, seen, weight=2.0, layers=only(number)))
        image, text = agreement(pictures, who.scenes), agreement(pictures, who.others)
        shares = (f"{share(image[key])} / {share(text[key])}" for key in (*STYLE, *COMPOSITION))
        rows.append([f"layer {number}", *shares])
    return Table(["layer", *(f"{key}: image / text" for key in (*STYLE, *COMPOSITION))], rows)


def only(number: int) -> LayerWeights:
    """All weight in one layer, counted in the order of the checkpoint."""

    def spread(layers: tuple[Layer, ...]) -> list[LayerWeight]:
        return [LayerWeight(float(place == number)) for place in range(len(layers))]

    return LayerWeights(f"layer {number}", spread)


def mixing(who: Subjects) -> Table:
    """Two references in one prompt: the object of one, in its place, before the background of the other.

    Each acts where it is wanted; of the second one its own object is masked out, so that only the background is read.
    """
    inside = covers(who.scenes)
    inner, outer = host.features(draw(who.scenes)), _read_in_part(who.others, 1 - covers(who.others))
    masks = torch.stack([inside, 1 - inside])
    pictures = sampled(Wish([""] * len(who.scenes), inner, "plus", more=(outer,), masks=masks))
    one, other = agreement(pictures, who.scenes), agreement(pictures, who.others)
    rows = [[whose, *(share(shares[key]) for key in (*STYLE, *COMPOSITION))]
            for whose, shares in (("inside", one), ("around", other))]  # fmt: skip
    goals = [
        Wanted("inside: its colour", one["colour"], 0.85),
        Wanted("inside: its texture", one["texture"], 0.85),
        Wanted("around: its background", other["background"], 0.85),
    ]
    return Table(["as in the reference", *STYLE, *COMPOSITION], rows, goals)


TABLES: dict[str, Callable[[Subjects], Table]] = {
    "0. What the encoder sees": seeing,
    "1. Text, image, both": prompting,
    "2. When text and image disagree": sweeping,
    "3. ControlNet and image prompt": controlling,
    "4. Text alone is untouched": untouched,
    "5. On a fine-tuned base": tuning,
    "6. Style and composition by layers": layering,
    "7. Regions": placing,
    "8. Balance": balancing,
    "9. A part of a reference": masking,
    "10. One reference inside, one around": mixing,
    "11. What each layer carries": carrying,
    "12. Faces": facing,
}
