"""The people of the small world: who they are, and what a portrait shows of them.

A *person* is what a face recognition network should tell: skin, hair, beard, and proportions that no word names. A
*portrait* shows a person with an expression, glasses or not, in clothes, before a background: what a text asks for,
and what an adapter that reads faces alone must leave to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .world import BACKGROUNDS, COLOURS, Colour, is_held_out

SKINS: dict[str, Colour] = {
    "pale": (0.98, 0.84, 0.74),
    "tan": (0.86, 0.64, 0.45),
    "brown": (0.62, 0.41, 0.27),
    "dark": (0.36, 0.23, 0.17),
}
HAIR: dict[str, Colour] = {
    "black": (0.09, 0.08, 0.10),
    "brown": (0.36, 0.20, 0.10),
    "blond": (0.93, 0.77, 0.36),
    "red": (0.76, 0.27, 0.09),
    "gray": (0.66, 0.67, 0.70),
    "blue": (0.16, 0.36, 0.86),
}
STYLES = ("short", "long", "curly", "bun", "mohawk")
BEARDS = ("shaved", "moustache", "beard")
EXPRESSIONS = ("smiling", "serious", "surprised", "sad")
GLASSES = ("no", "round", "dark")

IDENTITY: dict[str, tuple[str, ...]] = {"skin": tuple(SKINS), "hair": tuple(HAIR), "style": STYLES, "beard": BEARDS}
"""What a classifier reads of who somebody is, and what held-out combinations are made of."""

LOOK: dict[str, tuple[str, ...]] = {
    "expression": EXPRESSIONS,
    "glasses": GLASSES,
    "clothes": tuple(COLOURS),
    "background": BACKGROUNDS,
}
"""What a portrait shows beside."""


@dataclass(frozen=True)
class Person:
    """Somebody.

    skin, hair, style, beard: rows of IDENTITY.
    tone, tint, iris: red, green and blue of skin, hair and eyes, 0..1.
    width: half the head's, in units of half its height, as all that follow but the jaw.
    jaw: how wide the chin is, 0..1; narrow is 0.
    apart, eyes: the eyes' distance from the middle, and half the width of one.
    brow, nose, mouth: half the brows' thickness, the nose's length, half the width of the mouth.
    """

    skin: str
    hair: str
    style: str
    beard: str
    tone: Colour
    tint: Colour
    iris: Colour
    width: float
    jaw: float
    apart: float
    eyes: float
    brow: float
    nose: float
    mouth: float


@dataclass(frozen=True)
class Portrait:
    """A person in a picture.

    expression, glasses, clothes, background: rows of LOOK.
    cloth: red, green and blue of the clothes.
    shade: variation of the background, from -1 to 1.
    centre, radius: of the head, 0..SIDE; the radius is half its height.
    tilt: of the head, in radians.
    """

    person: Person
    expression: str
    glasses: str
    clothes: str
    background: str
    cloth: Colour
    shade: float
    centre: tuple[float, float]
    radius: float
    tilt: float


_IRISES: tuple[Colour, ...] = ((0.30, 0.17, 0.08), (0.15, 0.42, 0.75), (0.18, 0.50, 0.26))


def held_out(skin: str, hair: str, style: str, beard: str) -> bool:
    """Whether no model or adapter learns of anybody with this combination."""
    return is_held_out(f"{skin} {hair} {style} {beard}")


def person(seed: int, index: int, *, unseen: bool = False) -> Person:
    """The person `index` of the series `seed`, of combinations seen in training or, with `unseen`, of the others."""
    dice = np.random.default_rng((seed, index))
    while True:
        traits = tuple(_pick(dice, choices) for choices in IDENTITY.values())
        if held_out(*traits) == unseen:
            return somebody(traits, dice)


def somebody(traits: Sequence[str], dice: np.random.Generator) -> Person:
    """A person of whom these words are true, rows of IDENTITY in its order; the rest is drawn."""
    skin, hair, style, beard = traits
    return Person(
        skin,
        hair,
        style,
        beard,
        tone=_near(dice, SKINS[skin], 0.03),
        tint=_near(dice, HAIR[hair], 0.05),
        iris=_IRISES[int(dice.integers(len(_IRISES)))],
        width=float(dice.uniform(0.70, 0.90)),
        jaw=float(dice.uniform(0.35, 0.75)),
        apart=float(dice.uniform(0.30, 0.42)),
        eyes=float(dice.uniform(0.13, 0.20)),
        brow=float(dice.uniform(0.05, 0.11)),
        nose=float(dice.uniform(0.20, 0.36)),
        mouth=float(dice.uniform(0.24, 0.38)),
    )


def compose(words: Sequence[str], number: int, seed: int) -> Portrait:
    """The portrait that these words ask for, rows of IDENTITY and LOOK in order; number: of one of all such people."""
    traits, look = words[: len(IDENTITY)], words[len(IDENTITY) :]
    return posed(somebody(traits, np.random.default_rng((number, 1))), look, np.random.default_rng(seed))


def portrait(who: Person, seed: int, index: int) -> Portrait:
    """The portrait `index` of the series `seed`, of this person."""
    dice = np.random.default_rng((seed, index))
    return posed(who, tuple(_pick(dice, choices) for choices in LOOK.values()), dice)


def posed(who: Person, look: Sequence[str], dice: np.random.Generator) -> Portrait:
    """A portrait of which these words are true, rows of LOOK in its order; the rest is drawn."""
    expression, glasses, clothes, background = look
    radius = float(dice.uniform(8.6, 10.2))
    return Portrait(
        who,
        expression,
        glasses,
        clothes,
        background,
        cloth=_near(dice, COLOURS[clothes], 0.06),
        shade=float(dice.uniform(-1, 1)),
        centre=(16 + float(dice.uniform(-1.5, 1.5)), 14.6 + float(dice.uniform(-1, 1))),
        radius=radius,
        tilt=float(dice.uniform(-0.12, 0.12)),
    )


def _pick(dice: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(dice.integers(len(options)))]


def caption(
    shown: Portrait, dice: np.random.Generator | None = None, silence: float = 0.0, nameless: float = 0.0
) -> str:
    """What the portrait shows, in words; nobody's proportions.

    What any portrait may show is left out at the rate `silence`, who somebody is at the rate `nameless`, by `dice`;
    without them nothing is but what has the rate 1.
    """
    who = shown.person

    def said(phrase: str, rate: float) -> list[str]:
        return [] if not phrase or rate >= 1 or (dice is not None and dice.random() < rate) else [phrase]

    traits = [f"{who.skin} skin", _HAIR_SAID[who.style].format(who.hair), _BEARD_SAID[who.beard]]
    features = [part for trait in traits for part in said(trait, nameless)]
    features += said("" if shown.glasses == "no" else f"{shown.glasses} glasses", silence)
    parts = ["a", *said(shown.expression, silence), "person"]
    parts += [f"with {' and '.join(features)}"] if features else []
    parts += said(f"in a {shown.clothes} shirt", silence) + said(f"on a {shown.background} background", silence)
    return " ".join(parts)


_HAIR_SAID = {
    "short": "short {} hair",
    "long": "long {} hair",
    "curly": "curly {} hair",
    "bun": "{} hair in a bun",
    "mohawk": "a {} mohawk",
}
_BEARD_SAID = {"shaved": "", "moustache": "a moustache", "beard": "a beard"}


def _near(dice: np.random.Generator, colour: Colour, spread: float) -> Colour:
    red, green, blue = np.clip(np.array(colour) + dice.uniform(-spread, spread, 3), 0, 1).tolist()
    return red, green, blue
