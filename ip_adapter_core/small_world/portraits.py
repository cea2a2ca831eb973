"""Pictures of the small world's people, as sketches and in the lamp's light, like those of its scenes."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .canvas import LAMP, PICTURE, backgrounds, column, cover, each, grid
from .face_parts import (
    BEARDS,
    BEHIND,
    EXPRESSIONS,
    EYES_AT,
    FRONT,
    GLASSES,
    MOUTH_AT,
    NOSE_AT,
    Expression,
    Frame,
    outlined,
)
from .people import Person, Portrait
from .world import SIDE

_WHITE, _FRAME = (0.97, 0.97, 0.97), (0.08, 0.08, 0.10)
_SHADE, _RIM, _RIM_WIDTH = 0.10, 0.28, 0.28  # how much lighter and darker: across a part, and where it bends
_SHADOW, _SOFT = 0.16, 0.34  # of a part on what is behind it: its darkness, and how softly it ends


def sketch(portraits: Sequence[Portrait]) -> Tensor:
    """Latents of portraits as pictures, flat and small: (n, 3, SIDE, SIDE), 0 to 1."""
    return _drawn(portraits, SIDE, lit=False)


def draw(portraits: Sequence[Portrait], side: int = PICTURE) -> Tensor:
    """Pictures of portraits, with light and shadow, (n, 3, side, side), 0 to 1; side: PICTURE or half of it."""
    return _drawn(portraits, side, lit=True)


def points(portraits: Sequence[Portrait], side: int = PICTURE) -> Tensor:
    """Eyes, nose and ends of the mouth, left ones first, (n, 5, 2): x and y in pixels of a picture of a side.

    The ends are those of a straight mouth: a smile and a frown end above and below.
    """
    rows = []
    for one in portraits:
        who, (x, y) = one.person, one.centre
        apart, wide = who.apart, EXPRESSIONS[one.expression].width * who.mouth
        local = [(-apart, EYES_AT), (apart, EYES_AT), (0, NOSE_AT), (-wide, MOUTH_AT), (wide, MOUTH_AT)]
        cos, sin = math.cos(one.tilt) * one.radius, math.sin(one.tilt) * one.radius
        rows.append([(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in local])
    return torch.tensor(rows) * (side / SIDE)


def _drawn(portraits: Sequence[Portrait], side: int, *, lit: bool) -> Tensor:
    frame, canvas = _frame(portraits, side), backgrounds(portraits, side)
    for part in _parts(portraits, frame):
        distance = part.distance.expand_as(frame.u)
        colour = part.colour
        if lit and part.solid:
            canvas = canvas * (1 - _shadow(distance, frame))
            colour = _lit(colour, distance, frame)
        inside = cover(distance)[:, None]
        canvas = canvas * (1 - inside) + colour * inside
    return canvas


def _frame(portraits: Sequence[Portrait], side: int) -> Frame:
    x, y = grid(side)
    x, y = x - column([one.centre[0] for one in portraits]), y - column([one.centre[1] for one in portraits])
    cos, sin = column([math.cos(one.tilt) for one in portraits]), column([math.sin(one.tilt) for one in portraits])
    radius = column([one.radius for one in portraits])
    return Frame((x * cos + y * sin) / radius, (y * cos - x * sin) / radius, radius)


def _shadow(distance: Tensor, frame: Frame) -> Tensor:
    """How much darker what lies behind a part is around it, (n, 1, side, side)."""
    return (_SHADOW * (1 - distance / (frame.radius * _SOFT)).clamp(0, 1) * (distance > 0))[:, None]


def _lit(colour: Tensor, distance: Tensor, frame: Frame) -> Tensor:
    """Colours (n, 3, …) in the lamp's light: lighter on its side, most of all where a part bends."""
    slope_y, slope_x = torch.gradient(distance, spacing=SIDE / distance.shape[-1], dim=(1, 2))
    bend = (1 + distance / (frame.radius * _RIM_WIDTH)).clamp(0, 1)
    bend = bend * (slope_x * LAMP[0] + slope_y * LAMP[1]).clamp(-1, 1)
    facing = (frame.u * LAMP[0] + frame.v * LAMP[1]).clamp(-1, 1)
    light = (_SHADE * facing + _RIM * bend)[:, None]
    return torch.where(light > 0, colour + (1 - colour) * light, colour * (1 + light))


class Part(NamedTuple):
    """Something to paint: the signed distance to its outline in pixels of a sketch, and its colour (n, 3, 1, 1).

    solid: whether it is lit and has a shadow.
    """

    distance: Tensor
    colour: Tensor
    solid: bool = False


def _parts(portraits: Sequence[Portrait], frame: Frame) -> list[Part]:
    """What a portrait is made of, from behind to the front."""
    people = [one.person for one in portraits]
    skin, hair = _colours([who.tone for who in people]), _colours([who.tint for who in people])
    cloth = _colours([one.cloth for one in portraits])
    wide, jaw = column([who.width for who in people]), column([who.jaw for who in people])
    head = _head(frame, wide, jaw)
    return [
        Part(outlined(people, "style", BEHIND, frame, wide), hair, solid=True),
        Part(torch.maximum(frame.beyond(frame.u.abs() - 0.3), frame.beyond(0.4 - frame.v)), skin * 0.82),
        Part(frame.ellipse(0, 2.3, 1.55, 1.15), cloth, solid=True),
        Part(torch.minimum(*(frame.ellipse(sign * wide, 0.05, 0.14, 0.22) for sign in (-1, 1))), skin * 0.9),
        Part(head, skin, solid=True),
        *_face(portraits, people, frame, head, skin, hair),
        Part(outlined(people, "style", FRONT, frame, wide), hair, solid=True),
        *_glasses(portraits, frame),
    ]


def _face(
    portraits: Sequence[Portrait], people: Sequence[Person], frame: Frame, head: Tensor, skin: Tensor, hair: Tensor
) -> list[Part]:
    shown = [EXPRESSIONS[one.expression] for one in portraits]
    wide, nose = column([who.mouth for who in people]), column([who.nose for who in people])
    outlines = {name: mouth.outline for name, mouth in EXPRESSIONS.items()}
    return [
        Part(outlined(people, "beard", BEARDS, frame, head), hair),
        *(part for sign in (-1, 1) for part in _eye(sign, shown, people, frame, hair)),
        Part(frame.ellipse(0, NOSE_AT, 0.11, 0.06), skin * 0.68),
        Part(frame.ellipse(-0.07, NOSE_AT - nose / 2, 0.045, nose / 2), skin * 0.8),
        Part(outlined(portraits, "expression", outlines, frame, wide), _colours([mouth.colour for mouth in shown])),
    ]


def _eye(sign: int, shown: Sequence[Expression], people: Sequence[Person], frame: Frame, hair: Tensor) -> list[Part]:
    """The left eye, sign -1, or the right one, with its brow."""
    apart, half = column([who.apart for who in people]), column([who.eyes for who in people])
    wide, lift, slope = (column([getattr(one, field) for one in shown]) for field in ("eyes", "lift", "slope"))
    white = frame.ellipse(sign * apart, EYES_AT, half * 1.15, 0.125 * wide)
    iris = torch.maximum(frame.ellipse(sign * apart, EYES_AT, 0.095, 0.11), white)
    above = frame.v - (EYES_AT - 0.24 - lift + slope * (frame.u * sign - apart))
    thick = column([who.brow for who in people])
    brow = torch.maximum(above.abs() - thick, (frame.u - sign * apart).abs() - half * 1.35)
    return [
        Part(white, _flat(_WHITE)),
        Part(iris, _colours([who.iris for who in people])),
        Part(frame.beyond(brow), hair * 0.8),
    ]


def _glasses(portraits: Sequence[Portrait], frame: Frame) -> list[Part]:
    people = [one.person for one in portraits]
    apart, wide = column([who.apart for who in people]), column([who.width for who in people])
    lenses = torch.minimum(*(frame.ellipse(sign * apart, EYES_AT, 0.27, 0.25) for sign in (-1, 1)))
    bars = torch.maximum(frame.beyond((frame.v - EYES_AT + 0.04).abs() - 0.045), frame.beyond(frame.u.abs() - wide))
    bars = torch.maximum(bars, -lenses)
    rims = torch.minimum(torch.maximum(lenses, -lenses - frame.radius * 0.085), bars)
    dark = torch.minimum(lenses, bars)
    return [Part(each(portraits, "glasses", GLASSES, rims, dark), _flat(_FRAME))]


def _head(frame: Frame, wide: Tensor, jaw: Tensor) -> Tensor:
    """An ellipse whose lower half ends in a chin."""
    down = frame.v.clamp(min=0)
    return frame.ellipse(0, 0, wide * (1 - (1 - jaw) * 0.35 * down.square()), 1.0)


def _colours(values: Sequence[Sequence[float]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, :, None, None]


def _flat(colour: Sequence[float]) -> Tensor:
    return torch.tensor(colour, dtype=torch.float32)[None, :, None, None]
