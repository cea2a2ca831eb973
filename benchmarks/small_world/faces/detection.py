"""Train the network that finds faces in the small world's portraits, in ONNX and of SCRFD's form."""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, interpolate, pad, smooth_l1_loss

from ....ip_adapter_core.faces.detection import ANCHORS, SIZES, STRIDES
from ....ip_adapter_core.small_world.world import SIDE
from ..descent import Descent
from ..shelf import pictures
from . import crowd
from .crowd import POOLED, convolved

FILE = crowd.FOLDER / "detection.onnx"
BATCH = 48
ROOM, SMALLEST = SIZES[0] // (4 * POOLED), 14  # pixels of what it looks at; of the smallest portrait in it
PARTS = {"scores": (0, 1), "boxes": (1, 5), "points": (5, 15)}
THINGS = 0.25
"""How many pictures show things instead of people."""
_NEAR = 0.4  # how far from the middle of a face a cell is still in its middle, as a share of its half


class Detector(nn.Module):
    """Pixels (1, 3, h, w), ±1 -> scores, distances to a box's sides, and points, on a grid for each stride.

    A portrait is large, so only the coarsest grid has faces; the others say that they have none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.AvgPool2d(4 * POOLED),
            *convolved(3, 32),
            *convolved(32, 64, stride=2),
            *convolved(64, 64),
            *convolved(64, 64, spread=2),
            *convolved(64, 64, spread=4),
            nn.Conv2d(64, 15, 1),
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """As SCRFD gives them: every grid's scores, then their boxes, then their points; two rows for each cell."""
        found = self.body(pixels)
        found = torch.cat([found[:, :1].sigmoid(), found[:, 1:]], dim=1)
        none = [avg_pool2d(pixels[:, :1], stride).expand(-1, 15, -1, -1) * 0 for stride in STRIDES[:-1]]
        grids = [grid.movedim(1, -1).reshape(-1, 15).repeat_interleave(ANCHORS, dim=0) for grid in (*none, found)]
        return tuple(grid[:, first:last] for first, last in PARTS.values() for grid in grids)


def placed(shown: Mapping[str, Tensor], things: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Portraits of random sizes, mostly large, on black, (n, 3, ROOM, ROOM), with points and boxes in pixels of these.

    shown: as `crowd.shown` gives them. Some of the pictures are things instead, (n, 3, 32, 32), 0 to 1; of these the
    points and boxes are no numbers.
    """
    while True:
        side = round(SMALLEST + (ROOM - SMALLEST) * float(torch.rand(1)) ** 0.5)
        x, y = (int(torch.randint(ROOM - side + 1, (1,))) for _ in range(2))
        rows, faceless = torch.randint(len(shown["pictures"]), (BATCH,)), torch.rand(BATCH) < THINGS
        small = interpolate(shown["pictures"][rows].float() / 255, (side, side), mode="area")
        other = interpolate(things[torch.randint(len(things), (BATCH,))], (side, side), mode="bilinear", antialias=True)
        small = torch.where(faceless[:, None, None, None], other, small)
        canvas = pad(crowd.disturbed(small), (x, ROOM - side - x, y, ROOM - side - y))
        points, boxes = (shown[name][rows].reshape(BATCH, -1, 2) * (side / SIDE) for name in ("points", "boxes"))
        gone, corner = faceless[:, None, None], torch.tensor([x, y])
        yield canvas, (points + corner).masked_fill(gone, math.nan), (boxes + corner).masked_fill(gone, math.nan)


def wanted(points: Tensor, boxes: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """For each cell, of two pixels a side: whether it is in the middle of a face, (n, cells), and what it should say.

    That is the distances to the box's sides and the points' places from there, (n, cells, 14), in cells.
    """
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    cells, corners = torch.stack([x, y], dim=-1).reshape(-1, 2).float(), boxes / 2
    middle, half = corners.mean(dim=1, keepdim=True), (corners[:, 1] - corners[:, 0])[:, None] / 2
    near = ((cells - middle) / half).abs().amax(dim=-1) < _NEAR
    sides = torch.cat([cells - corners[:, :1], corners[:, 1:] - cells], dim=-1)
    return near, torch.cat([sides, (points[:, None] / 2 - cells[:, None]).flatten(2)], dim=-1)


def train(steps: int, rate: float = 3e-3) -> nn.Module:
    """Which cells are in the middle of a face, and where from there its box and points are."""
    shown, things = crowd.shown(), pictures("test").float() / 255
    torch.manual_seed(63)
    model, examples = Detector(), placed(shown, things)
    descent = Descent("faces_detector", model.parameters(), steps, rate, decay=0.05, warm=0.1)
    for _ in range(steps):
        canvas, points, boxes = next(examples)
        found = model.body[1:](canvas * 2 - 1)
        near, right = wanted(points, boxes, *found.shape[-2:])
        said = found.flatten(2).movedim(1, -1)
        loss = binary_cross_entropy_with_logits(said[..., 0], near.float()) * 4
        descent.step(loss + smooth_l1_loss(said[near][:, 1:], right[near]))
    descent.end()
    return model


def main(steps: int) -> None:
    """Train and write it."""
    names = [f"{part}{stride}" for part in PARTS for stride in STRIDES]
    example = torch.zeros(1, 3, SIZES[0], SIZES[0])
    crowd.export(train(steps), FILE, example, names, {2: "height", 3: "width"})
