"""Pictures of the small world's scenes: what they look like, where their objects are, and their outlines."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from .world import SIDE, Object, Scene

_WIDTH_OF_EDGE = 0.8  # pixels over which an edge fades
_OUTLINE = 1.0  # pixels
_DARK = 0.42  # a texture's second tone, as a share of the first
_PITCH = 4  # pixels between the stripes, dots and squares of a texture; they lie on the picture's grid


def draw(scenes: Sequence[Scene]) -> torch.Tensor:
    """Pictures of scenes, (n, 3, SIDE, SIDE), 0 to 1."""
    canvas = _backgrounds(scenes)
    for rows, objects in _layers(scenes):
        canvas[rows] = _paint(canvas[rows], objects)
    return canvas


def pastel(pictures: torch.Tensor) -> torch.Tensor:
    """The same pictures in another style, as if in chalk: (n, 3, h, w), 0 to 1."""
    return 1 - (1 - pictures) * 0.45


def covers(scenes: Sequence[Scene]) -> torch.Tensor:
    """Where the objects are, (n, SIDE, SIDE), 0 to 1."""
    result = torch.zeros(len(scenes), SIDE, SIDE)
    for rows, objects in _layers(scenes):
        result[rows] = torch.maximum(result[rows], _cover(_distances(objects)))
    return result


def outlines(scenes: Sequence[Scene]) -> torch.Tensor:
    """The outlines of the objects in white on black, (n, 3, SIDE, SIDE): what the ControlNet is told."""
    canvas = torch.zeros(len(scenes), 1, SIDE, SIDE)
    for rows, objects in _layers(scenes):
        lines = (1.2 - _distances(objects).abs()).clamp(0, 1)
        canvas[rows] = torch.maximum(canvas[rows], lines[:, None])
    return canvas.expand(-1, 3, -1, -1).contiguous()


def _layers(scenes: Sequence[Scene]) -> Iterator[tuple[list[int], list[Object]]]:
    """The first objects of all scenes, then the second ones of those that have two, each with its scene's row."""
    for layer in range(max(len(scene.objects) for scene in scenes)):
        rows = [row for row, scene in enumerate(scenes) if layer < len(scene.objects)]
        yield rows, [scenes[row].objects[layer] for row in rows]


def _cover(distance: torch.Tensor) -> torch.Tensor:
    return (0.5 - distance / _WIDTH_OF_EDGE).clamp(0, 1)


def _grid() -> tuple[torch.Tensor, torch.Tensor]:
    steps = torch.arange(SIDE, dtype=torch.float32) + 0.5
    return steps[None, None, :].expand(1, SIDE, SIDE), steps[None, :, None].expand(1, SIDE, SIDE)


def _column(values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(list(values), dtype=torch.float32)[:, None, None]


def _backgrounds(scenes: Sequence[Scene]) -> torch.Tensor:
    x, y = _grid()
    height = (y / SIDE)[:, None]
    shade = _column([scene.shade for scene in scenes])[:, None]

    def flat(colour: Sequence[float]) -> torch.Tensor:
        return torch.tensor(colour, dtype=torch.float32)[None, :, None, None]

    blades = ((x + (y / 4).floor() * 2) % 4 < 1).float()[:, None] * (y % 4 < 3).float()[:, None]
    looks = {
        "white": flat((0.96, 0.96, 0.96)) + 0.03 * shade,
        "black": flat((0.07, 0.07, 0.08)) + 0.04 * shade,
        "gray": flat((0.55, 0.55, 0.56)) + 0.06 * shade,
        "sky": flat((0.35, 0.62, 0.95)) * (1 - height) + flat((0.85, 0.94, 1.0)) * height + 0.04 * shade,
        "sunset": flat((0.30, 0.12, 0.42)) * (1 - height) + flat((1.0, 0.55, 0.25)) * height + 0.05 * shade,
        "grass": flat((0.30, 0.48, 0.14)) + flat((0.16, 0.22, 0.08)) * blades + 0.05 * shade,
    }
    wide = {name: look.expand(len(scenes), 3, SIDE, SIDE) for name, look in looks.items()}
    return torch.stack([wide[scene.background][row] for row, scene in enumerate(scenes)]).clamp(0, 1)


def _each(
    objects: Sequence[Object], name: str, looks: Mapping[str, Callable[..., torch.Tensor]], *fields: torch.Tensor
) -> torch.Tensor:
    """The function that each object's attribute `name` selects, of its own rows of `fields`."""
    result = torch.empty(len(objects), SIDE, SIDE)
    for choice in {getattr(one, name) for one in objects}:
        rows = [row for row, one in enumerate(objects) if getattr(one, name) == choice]
        result[rows] = looks[choice](*(field[rows] for field in fields))
    return result


def _paint(canvas: torch.Tensor, objects: Sequence[Object]) -> torch.Tensor:
    distance = _distances(objects)
    tint = torch.tensor([one.tint for one in objects])[:, :, None, None]
    dark = _pattern(objects)[:, None]
    colour = tint * (1 - (1 - _DARK) * dark)
    rim = ((distance + _OUTLINE) / _WIDTH_OF_EDGE + 0.5).clamp(0, 1)[:, None]
    colour = colour * (1 - rim) + tint * 0.3 * rim
    cover = _cover(distance)[:, None]
    return canvas * (1 - cover) + colour * cover


def _local(objects: Sequence[Object]) -> tuple[torch.Tensor, torch.Tensor]:
    """Coordinates in each object's own frame, in units of its radius."""
    x, y = _grid()
    x = x - _column([one.centre[0] for one in objects])
    y = y - _column([one.centre[1] for one in objects])
    cos, sin = _column([math.cos(one.angle) for one in objects]), _column([math.sin(one.angle) for one in objects])
    radius = _column([one.radius for one in objects])
    return (x * cos + y * sin) / radius, (y * cos - x * sin) / radius


def _distances(objects: Sequence[Object]) -> torch.Tensor:
    """Signed distance to each object's outline in pixels, negative inside, (n, SIDE, SIDE)."""
    u, v = _local(objects)
    return _each(objects, "shape", _SHAPES, u, v) * _column([one.radius for one in objects])


def _pattern(objects: Sequence[Object]) -> torch.Tensor:
    """Where a texture is dark, (n, SIDE, SIDE), 0 to 1."""
    x, y = _grid()
    across, down = _column([one.slant[0] for one in objects]), _column([one.slant[1] for one in objects])
    turn = 2 * math.pi / _PITCH
    stripes = torch.sin(turn * (x * across + y * down))
    columns, rows = (torch.sin(turn * steps).expand_as(stripes) for steps in (x, y))
    return _each(objects, "texture", _TEXTURES, stripes, columns, rows)


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
    "striped": lambda stripes, columns, rows: (0.5 + 2.0 * stripes).clamp(0, 1),
    "dotted": lambda stripes, columns, rows: (1.6 * (columns + rows) - 0.9).clamp(0, 1),
    "checkered": lambda stripes, columns, rows: (0.5 + 3.0 * columns * rows).clamp(0, 1),
}
