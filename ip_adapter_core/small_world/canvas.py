"""What scenes and portraits are drawn on: the grid of pixels, edges, the light, and backgrounds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch

from .world import SIDE

SCALE = 8
"""Pixels of a picture for each of a sketch; as in other latent models."""
PICTURE = SIDE * SCALE
"""The side of a picture in pixels."""
EDGES = {SIDE: 0.8, PICTURE // 2: 0.2, PICTURE: 0.2}
"""Over which an edge fades, in pixels of a sketch, by the side of what is drawn."""
LAMP = (-0.6, -0.8)
"""Where the light comes from, in the plane of the picture."""


class Placed(Protocol):
    """What stands before a background; shade: its variation, from -1 to 1."""

    @property
    def background(self) -> str:
        """A row of BACKGROUNDS."""

    @property
    def shade(self) -> float:
        """From -1 to 1."""


def cover(distance: torch.Tensor) -> torch.Tensor:
    """How much of each pixel lies inside of an outline, by the signed distance to it."""
    return (0.5 - distance / EDGES[distance.shape[-1]]).clamp(0, 1)


def grid(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the pixels' middles are: x (1, side, side) and y, from 0 to SIDE."""
    steps = (torch.arange(side, dtype=torch.float32) + 0.5) * (SIDE / side)
    return steps[None, None, :].expand(1, side, side), steps[None, :, None].expand(1, side, side)


def column(values: Sequence[float]) -> torch.Tensor:
    """Numbers, one for each picture, (n, 1, 1)."""
    return torch.tensor(list(values), dtype=torch.float32)[:, None, None]


def backgrounds(scenes: Sequence[Placed], side: int) -> torch.Tensor:
    """What is behind, (n, 3, side, side)."""
    x, y = grid(side)
    height = (y / SIDE)[:, None]
    shade = column([scene.shade for scene in scenes])[:, None]

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
    wide = {name: look.expand(len(scenes), 3, side, side) for name, look in looks.items()}
    return torch.stack([wide[scene.background][row] for row, scene in enumerate(scenes)]).clamp(0, 1)


def each(
    objects: Sequence[Any], name: str, looks: Mapping[str, Callable[..., torch.Tensor]], *fields: torch.Tensor
) -> torch.Tensor:
    """The function that each object's attribute `name` selects, of its own rows of `fields`."""
    result = torch.empty_like(fields[0])
    for choice in {getattr(one, name) for one in objects}:
        rows = [row for row, one in enumerate(objects) if getattr(one, name) == choice]
        result[rows] = looks[choice](*(field[rows] for field in fields))
    return result
