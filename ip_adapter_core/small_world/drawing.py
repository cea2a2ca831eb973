"""Pictures of the small world's scenes: what they look like, where their objects are, and their outlines.

A scene is drawn in two ways. A *sketch* is 32×32 and flat: it is the latents of the demo model, which learns to draw
nothing else. A *picture* is the same scene at 256×256 in the light of a lamp at the upper left, with a rim, a shade
across each object and a shadow behind it: the model's decoder makes pictures of sketches.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch

from .canvas import EDGES, LAMP, PICTURE, backgrounds, column, cover, each, grid
from .world import SIDE, Object, Scene

_OUTLINE = 1.0  # lengths are in pixels of a sketch, unless it is said
_DARK = 0.42  # a texture's second tone, as a share of the first
_PITCH = 4  # between the stripes, dots and squares of a texture; they lie on the picture's grid
_SHADE, _RIM, _RIM_WIDTH = 0.14, 0.30, 2.2  # how much lighter and darker: across an object, and where it bends
_SHADOW, _FALLS, _SOFT = 0.30, (0.9, 1.2), 2.4  # its darkness, how far from the object it lies, how softly it ends
_LINE = 0.55  # half the width of an outline


def sketch(scenes: Sequence[Scene]) -> torch.Tensor:
    """The demo model's latents of scenes as pictures, flat and small: (n, 3, SIDE, SIDE), 0 to 1."""
    return _drawn(scenes, SIDE, lit=False)


def draw(scenes: Sequence[Scene], side: int = PICTURE) -> torch.Tensor:
    """Pictures of scenes, with light and shadow, (n, 3, side, side), 0 to 1; side: PICTURE or half of it."""
    return _drawn(scenes, side, lit=True)


def pastel(pictures: torch.Tensor) -> torch.Tensor:
    """The same pictures in another style, as if in chalk: (n, 3, h, w), 0 to 1."""
    return 1 - (1 - pictures) * 0.45


def covers(scenes: Sequence[Scene]) -> torch.Tensor:
    """Where the objects are, (n, PICTURE, PICTURE), 0 to 1."""
    result = torch.zeros(len(scenes), PICTURE, PICTURE)
    for rows, objects in _layers(scenes):
        result[rows] = torch.maximum(result[rows], cover(_distances(objects, PICTURE)))
    return result


def outlines(scenes: Sequence[Scene]) -> torch.Tensor:
    """The outlines of the objects in white on black, (n, 3, PICTURE, PICTURE): what the ControlNet is told."""
    canvas = torch.zeros(len(scenes), 1, PICTURE, PICTURE)
    for rows, objects in _layers(scenes):
        lines = cover(_distances(objects, PICTURE).abs() - _LINE)
        canvas[rows] = torch.maximum(canvas[rows], lines[:, None])
    return canvas.expand(-1, 3, -1, -1).contiguous()


def _drawn(scenes: Sequence[Scene], side: int, *, lit: bool) -> torch.Tensor:
    canvas = backgrounds(scenes, side)
    for rows, objects in _layers(scenes):
        canvas[rows] = _paint(canvas[rows], objects, lit)
    return canvas


def _layers(scenes: Sequence[Scene]) -> Iterator[tuple[list[int], list[Object]]]:
    """The first objects of all scenes, then the second ones of those that have two, each with its scene's row."""
    for layer in range(max(len(scene.objects) for scene in scenes)):
        rows = [row for row, scene in enumerate(scenes) if layer < len(scene.objects)]
        yield rows, [scenes[row].objects[layer] for row in rows]


def _paint(canvas: torch.Tensor, objects: Sequence[Object], lit: bool) -> torch.Tensor:
    side = canvas.shape[-1]
    distance = _distances(objects, side)
    tint = torch.tensor([one.tint for one in objects])[:, :, None, None]
    dark = _pattern(objects, side)[:, None]
    colour = tint * (1 - (1 - _DARK) * dark)
    if lit:
        colour = _lit(colour, objects, distance)
        canvas = canvas * (1 - _shadows(objects, side))
    rim = cover(-distance - _OUTLINE)[:, None]
    colour = colour * (1 - rim) + tint * 0.3 * rim
    inside = cover(distance)[:, None]
    return canvas * (1 - inside) + colour * inside


def _lit(colour: torch.Tensor, objects: Sequence[Object], distance: torch.Tensor) -> torch.Tensor:
    """Colours (n, 3, side, side) of objects in the lamp's light: lighter on its side, most of all where they bend."""
    x, y = grid(distance.shape[-1])
    across = (x - column([one.centre[0] for one in objects])) * LAMP[0]
    down = (y - column([one.centre[1] for one in objects])) * LAMP[1]
    facing = ((across + down) / column([one.radius for one in objects])).clamp(-1, 1)
    step = SIDE / distance.shape[-1]
    slope_y, slope_x = torch.gradient(distance, spacing=step, dim=(1, 2))
    bend = (1 + distance / _RIM_WIDTH).clamp(0, 1) * (slope_x * LAMP[0] + slope_y * LAMP[1]).clamp(-1, 1)
    light = (_SHADE * facing + _RIM * bend)[:, None]
    return torch.where(light > 0, colour + (1 - colour) * light, colour * (1 + light))


def _shadows(objects: Sequence[Object], side: int) -> torch.Tensor:
    """How much darker the ground is for the objects' shadows, (n, 1, side, side)."""
    distance = _distances(objects, side, shift=_FALLS)
    return (_SHADOW * (0.5 - distance / _SOFT).clamp(0, 1))[:, None]


def _local(objects: Sequence[Object], side: int, shift: tuple[float, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates in each object's own frame, in units of its radius; shift: as if it were moved so far."""
    x, y = grid(side)
    x = x - column([one.centre[0] for one in objects]) - shift[0]
    y = y - column([one.centre[1] for one in objects]) - shift[1]
    cos, sin = column([math.cos(one.angle) for one in objects]), column([math.sin(one.angle) for one in objects])
    radius = column([one.radius for one in objects])
    return (x * cos + y * sin) / radius, (y * cos - x * sin) / radius


def _distances(objects: Sequence[Object], side: int, shift: tuple[float, float] = (0.0, 0.0)) -> torch.Tensor:
    """Signed distance to each object's outline, negative inside, (n, side, side)."""
    u, v = _local(objects, side, shift)
    return each(objects, "shape", _SHAPES, u, v) * column([one.radius for one in objects])


def _pattern(objects: Sequence[Object], side: int) -> torch.Tensor:
    """Where a texture is dark, (n, side, side), 0 to 1; with edges as sharp as the side allows."""
    x, y = grid(side)
    across, down = column([one.slant[0] for one in objects]), column([one.slant[1] for one in objects])
    turn = 2 * math.pi / _PITCH
    stripes = torch.sin(turn * (x * across + y * down))
    columns, rows = (torch.sin(turn * steps).expand_as(stripes) for steps in (x, y))
    dark = each(objects, "texture", _TEXTURES, stripes, columns, rows)
    return (0.5 + (dark - 0.5) * EDGES[SIDE] / EDGES[side]).clamp(0, 1)


def _polygon(u: torch.Tensor, v: torch.Tensor, corners: Sequence[tuple[float, float]]) -> torch.Tensor:
    """Signed distance to a polygon whose corners are given in order."""
    nearest = torch.full_like(u, 1e9)
    inside = torch.zeros_like(u, dtype=torch.bool)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        ex, ey = x1 - x0, y1 - y0
        along = (((u - x0) * ex + (v - y0) * ey) / (ex * ex + ey * ey)).clamp(0, 1)
        nearest = torch.minimum(nearest, (u - x0 - ex * along) ** 2 + (v - y0 - ey * along) ** 2)
        crosses = ((y0 > v) != (y1 > v)) & (u < ex * (v - y0) / (ey if ey else 1e-9) + x0)
        inside ^= crosses
    return nearest.sqrt() * torch.where(inside, -1.0, 1.0)


def _regular(corners: int, radius: float, inner: float | None = None) -> list[tuple[float, float]]:
    """The corners of a regular polygon that stands upright, or of a star with the inner radius `inner`."""
    radii = [radius] if inner is None else [radius, inner]
    count = corners * len(radii)
    turns = [2 * math.pi * n / count - math.pi / 2 for n in range(count)]
    return [
        (radii[n % len(radii)] * math.cos(turn), radii[n % len(radii)] * math.sin(turn)) for n, turn in enumerate(turns)
    ]


def _heart() -> list[tuple[float, float]]:
    turns = [2 * math.pi * n / 28 for n in range(28)]
    return [
        (
            math.sin(t) ** 3 * 1.02,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16,
        )
        for t in turns
    ]


_CROSS = [
    (-0.34, -1), (0.34, -1), (0.34, -0.34), (1, -0.34), (1, 0.34), (0.34, 0.34),
    (0.34, 1), (-0.34, 1), (-0.34, 0.34), (-1, 0.34), (-1, -0.34), (-0.34, -0.34),
]  # fmt: skip

_SHAPES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "circle": lambda u, v: (u * u + v * v).sqrt() - 0.95,
    "ring": lambda u, v: ((u * u + v * v).sqrt() - 0.68).abs() - 0.3,
    "square": lambda u, v: _polygon(u, v, [(-0.84, -0.84), (0.84, -0.84), (0.84, 0.84), (-0.84, 0.84)]),
    "triangle": lambda u, v: _polygon(u, v + 0.1, _regular(3, 1.12)),
    "star": lambda u, v: _polygon(u, v, _regular(5, 1.12, 0.5)),
    "heart": lambda u, v: _polygon(u, v, _heart()),
    "cross": lambda u, v: _polygon(u, v, _CROSS),
    "diamond": lambda u, v: _polygon(u, v, [(0, -1.1), (0.78, 0), (0, 1.1), (-0.78, 0)]),
}

_TEXTURES: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "plain": lambda stripes, columns, rows: torch.zeros_like(stripes),
    "striped": lambda stripes, columns, rows: 0.5 + 2.0 * stripes,
    "dotted": lambda stripes, columns, rows: 1.6 * (columns + rows) - 0.9,
    "checkered": lambda stripes, columns, rows: 0.5 + 3.0 * columns * rows,
}
"""How dark a texture is, without limits: what is under 0 is not dark at all, what is over 1 wholly."""
