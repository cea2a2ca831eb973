"""The small world: captioned pictures of coloured, textured shapes, drawn from a seed.

A *scene* is one or two objects on a background. What the caption can say of it (shape, colour, texture, background,
size, place) are the tables below; what it cannot say (the exact tint, the angle, the place to the pixel, the lie of
stripes) is drawn at random, and only an image prompt can carry it.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""

SIDE = 32
"""The side of the world: of its sketches in pixels, and the measure of all lengths in it."""

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "diamond")
COLOURS = {
    "red": (0.86, 0.12, 0.14),
    "orange": (0.97, 0.52, 0.08),
    "yellow": (0.97, 0.87, 0.15),
    "green": (0.10, 0.62, 0.20),
    "cyan": (0.10, 0.80, 0.85),
    "blue": (0.13, 0.25, 0.85),
    "purple": (0.52, 0.14, 0.70),
    "pink": (0.98, 0.52, 0.72),
}
TEXTURES = ("plain", "striped", "dotted", "checkered")
BACKGROUNDS = ("white", "black", "gray", "sky", "sunset", "grass")
SIZES = {"small": 7.5, "large": 11.0}
PLACES = {"center": (0, 0), "left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "texture": TEXTURES,
    "background": BACKGROUNDS,
}
"""What a classifier reads of a picture with one object, and what held-out combinations are made of."""

_SLANTS = ((1, 0), (0, 1), (1, 1), (1, -1))  # across which a texture is striped
_HELD_OUT_OF = 7


@dataclass(frozen=True)
class Object:
    """One thing in a scene.

    shape, colour, texture, size, place: what its caption says, rows of the tables above.
    tint: red, green and blue, 0..1, around the colour.
    centre: x and y, 0..SIDE.
    radius: in the same measure.
    angle: in radians.
    slant: x and y of the direction across which a texture is striped.
    """

    shape: str
    colour: str
    texture: str
    size: str
    place: str
    tint: Colour
    centre: tuple[float, float]
    radius: float
    angle: float
    slant: tuple[int, int]


@dataclass(frozen=True)
class Scene:
    """One or two objects on a background.

    objects: the things in it.
    background: a row of BACKGROUNDS.
    shade: variation of the background, from -1 to 1.
    """

    objects: tuple[Object, ...]
    background: str
    shade: float


def held_out(shape: str, colour: str, texture: str, background: str) -> bool:
    """Whether this combination is never drawn for training."""
    return is_held_out(f"{shape} {colour} {texture} {background}")


def is_held_out(combination: str) -> bool:
    """Whether a combination is one of those that no training of a model or an adapter shows: one in seven."""
    return zlib.crc32(combination.encode()) % _HELD_OUT_OF == 0


def scene(seed: int, index: int, *, unseen: bool = False, objects: int | None = None) -> Scene:
    """The scene `index` of the series `seed`, of combinations seen in training or, with `unseen`, of the others.

    One scene in four has two objects unless `objects` says how many.
    """
    dice = np.random.default_rng((seed, index))
    count = objects if objects is not None else 1 + int(dice.random() < 0.25)
    background = _pick(dice, BACKGROUNDS)
    places = ["left", "right"] if count == 2 else [_pick(dice, tuple(PLACES))]
    things = tuple(_thing(dice, background, place, unseen, alone=count == 1) for place in places)
    return Scene(things, background, float(dice.uniform(-1, 1)))


def compose(look: tuple[str, str, str], background: str, size: str, place: str, seed: int) -> Scene:
    """The scene of one object that these words ask for: shape, colour and texture; the rest is drawn from the seed."""
    dice = np.random.default_rng(seed)
    return Scene((_pose(dice, look, size, place),), background, float(dice.uniform(-1, 1)))


def _thing(dice: np.random.Generator, background: str, place: str, unseen: bool, alone: bool) -> Object:
    while True:
        shape, colour, texture = _pick(dice, SHAPES), _pick(dice, tuple(COLOURS)), _pick(dice, TEXTURES)
        if held_out(shape, colour, texture, background) == unseen:
            break
    return _pose(dice, (shape, colour, texture), _pick(dice, tuple(SIZES)) if alone else "small", place)


def _pose(dice: np.random.Generator, look: tuple[str, str, str], size: str, place: str) -> Object:
    """What the words leave open, at random."""
    shape, colour, texture = look
    radius = SIZES[size] * float(dice.uniform(0.9, 1.1))
    room = min(SIDE / 2 - radius - 1, SIDE / 4)
    shifts = dice.uniform(-1, 1, 2)
    x, y = (SIDE / 2 + room * step + shift for step, shift in zip(PLACES[place], shifts, strict=True))
    tint = np.clip(np.array(COLOURS[colour]) + dice.uniform(-0.06, 0.06, 3), 0, 1).tolist()
    return Object(
        shape,
        colour,
        texture,
        size,
        place,
        tint=(tint[0], tint[1], tint[2]),
        centre=(x, y),
        radius=radius,
        angle=float(dice.uniform(-0.3, 0.3)),
        slant=_SLANTS[int(dice.integers(len(_SLANTS)))],
    )


def _pick(dice: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(dice.integers(len(options)))]


def caption(scene: Scene, dice: np.random.Generator | None = None, silence: float = 0.0, nameless: float = 0.0) -> str:
    """What the picture shows, in words.

    With `dice`, each word but the shape is left out at the rate `silence`, and the shape at the rate `nameless`.
    """

    def said(word: str, silence: float = silence) -> str:
        return "" if dice is not None and silence and dice.random() < silence else word + " "

    def thing(one: Object) -> str:
        texture = "" if one.texture == "plain" else said(one.texture)
        size = said(one.size) if len(scene.objects) == 1 else ""
        words = f"{size}{said(one.colour)}{texture}{said(one.shape, nameless)}"
        return f"{'an' if words.startswith('o') else 'a'} {words}"

    where = scene.objects[0].place
    place = ""
    if len(scene.objects) == 1 and where != "center":
        place = said(
            {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}[where]
        )
    background = said(f"on a {scene.background} background")
    return " ".join(f"{' and '.join(thing(one) for one in scene.objects)} {place}{background}".split())
