"""The parts of the small world's faces: outlines of hair, mouths, beards and glasses.

Lengths are in units of half the head's height, from its middle, in the head's own frame: u to the right, v down.
Distances are signed, negative inside, in pixels of a sketch.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .canvas import each
from .world import SIDE

EYES_AT, NOSE_AT, MOUTH_AT = -0.06, 0.22, 0.55
"""How far down they are, in the middle."""
_LIPS, _MOUTH = (0.70, 0.22, 0.24), (0.28, 0.06, 0.08)
Measure = Tensor | float


class Frame(NamedTuple):
    """Where the pixels are in the heads' own frames, (n, side, side) each, and half the heads' heights."""

    u: Tensor
    v: Tensor
    radius: Tensor

    def ellipse(self, u: Measure, v: Measure, wide: Measure, high: Measure) -> Tensor:
        """Signed distance to ellipses, near their outlines, in pixels of a sketch."""
        across, down = (self.u - u) / wide, (self.v - v) / high
        length = (across.square() + down.square()).sqrt()
        slope = ((across / wide).square() + (down / high).square()).sqrt().clamp(min=1e-6)
        return (length - 1) * length / slope * self.radius

    def beyond(self, distance: Tensor) -> Tensor:
        """A distance in the heads' units as one in pixels of a sketch."""
        return distance * self.radius


Outline = Callable[[Frame, Tensor], Tensor]
"""The distances to an outline, from where the pixels are and a measure of each face."""


class Expression(NamedTuple):
    """How an expression looks.

    outline: of the mouth, by half its width.
    colour: of the mouth; width: of its corners, as a share of the mouth's; eyes: how wide they are open.
    lift, slope: of the brows, which fall outward.
    """

    outline: Outline
    colour: tuple[float, float, float]
    width: float = 1.0
    eyes: float = 1.0
    lift: float = 0.0
    slope: float = 0.0


def _smile(at: Frame, wide: Tensor) -> Tensor:
    return torch.maximum(at.ellipse(0, MOUTH_AT - 0.06, wide * 1.2, 0.26), (MOUTH_AT - 0.06 - at.v) * at.radius)


def _line(at: Frame, wide: Tensor) -> Tensor:
    return torch.maximum((at.v - MOUTH_AT).abs() - 0.055, at.u.abs() - wide) * at.radius


def _round(at: Frame, wide: Tensor) -> Tensor:
    return at.ellipse(0, MOUTH_AT + 0.04, wide * 0.55, 0.2)


def _frown(at: Frame, wide: Tensor) -> Tensor:
    arc = at.v - (MOUTH_AT - 0.06 + 0.22 * (at.u / wide).square())
    return torch.maximum(arc.abs() - 0.06, at.u.abs() - wide) * at.radius


EXPRESSIONS = {
    "smiling": Expression(_smile, _MOUTH),
    "serious": Expression(_line, _LIPS, slope=-0.1),
    "surprised": Expression(_round, _MOUTH, width=0.55, eyes=1.5, lift=0.1),
    "sad": Expression(_frown, _LIPS, eyes=0.8, lift=0.02, slope=0.35),
}
GLASSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "no": lambda rims, dark: torch.full_like(rims, SIDE),
    "round": lambda rims, dark: rims,
    "dark": lambda rims, dark: dark,
}


def _long(at: Frame, wide: Tensor) -> Tensor:
    fall = torch.maximum(at.u.abs() - wide - 0.22, torch.maximum(-at.v - 0.1, at.v - 1.25)) * at.radius
    return torch.minimum(at.ellipse(0, -0.1, wide + 0.22, 1.12), fall)


def _curls(at: Frame, wide: Tensor) -> Tensor:
    turns = [math.pi * (0.92 + 1.16 * n / 8) for n in range(9)]
    around = [at.ellipse(math.cos(t) * (wide + 0.1), math.sin(t) * 0.95, 0.34, 0.34) for t in turns]
    return torch.stack(around).amin(dim=0)


def _bun(at: Frame, wide: Tensor) -> Tensor:
    return torch.minimum(at.ellipse(0, -1.22, 0.36, 0.33), at.ellipse(0, -0.08, wide + 0.07, 1.02))


def _shaved_sides(at: Frame, wide: Tensor) -> Tensor:
    return torch.maximum(at.ellipse(0, -0.25, 0.3, 1.2), at.v * at.radius)


BEHIND: dict[str, Outline] = {
    "short": lambda at, wide: torch.maximum(at.ellipse(0, -0.06, wide + 0.1, 1.06), (at.v - 0.1) * at.radius),
    "long": _long,
    "curly": _curls,
    "bun": _bun,
    "mohawk": _shaved_sides,
}


def _cap(line: Outline) -> Outline:
    """The hair over the forehead, down to a line: the v at each place."""

    def distance(at: Frame, wide: Tensor) -> Tensor:
        skull = at.ellipse(0, -0.04, wide + 0.06, 1.03)
        return torch.maximum(skull, (at.v - line(at, wide)) * at.radius)

    return distance


FRONT: dict[str, Outline] = {
    "short": _cap(lambda at, wide: -0.52 + 0.1 * at.u),
    "long": _cap(lambda at, wide: -0.72 + 0.85 * (at.u.abs() / wide).square()),
    "curly": lambda at, wide: torch.stack(
        [at.ellipse(turn * wide, -0.78 - 0.12 * (turn == 0), 0.3, 0.27) for turn in (-0.6, 0.0, 0.6)]
    ).amin(dim=0),
    "bun": _cap(lambda at, wide: -0.66 + 0.25 * (at.u / wide).square()),
    "mohawk": lambda at, wide: torch.maximum(at.ellipse(0, -0.9, 0.24, 0.55), (at.v + 0.5) * at.radius),
}


def _full_beard(at: Frame, head: Tensor) -> Tensor:
    return torch.maximum(head - 0.06 * at.radius, (0.34 - 0.3 * (at.u.abs() - 0.2).clamp(min=0) - at.v) * at.radius)


BEARDS: dict[str, Outline] = {
    "shaved": lambda at, head: torch.full_like(head, SIDE),
    "moustache": lambda at, head: at.ellipse(0, MOUTH_AT - 0.16, 0.36, 0.085),
    "beard": _full_beard,
}


def outlined(
    things: Sequence[Any], attribute: str, outlines: Mapping[str, Outline], frame: Frame, measure: Tensor
) -> Tensor:
    """The distances to the outline that each thing's attribute selects."""
    looks = {name: partial(_framed, outline) for name, outline in outlines.items()}
    return each(things, attribute, looks, *frame, measure)


def _framed(outline: Outline, u: Tensor, v: Tensor, radius: Tensor, measure: Tensor) -> Tensor:
    return outline(Frame(u, v, radius), measure)
