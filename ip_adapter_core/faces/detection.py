"""Finding faces: from a picture to the input of a detection network, and from its outputs to boxes and points.

The networks have SCRFD's form (insightface, model_zoo/scrfd.py): three grids of cells with two anchors in each cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from einops import repeat
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchvision.ops import nms

STRIDES = (8, 16, 32)  # side of a cell in pixels, for each grid
ANCHORS = 2
SIZES = tuple(range(640, 255, -64))  # of the input; a large face is detected only in a small input
_SCORE, _OVERLAP = 0.5, 0.4
_MEAN, _SCALE = 127.5, 128.0

Network = Callable[[Tensor], Sequence[Tensor]]
"""Pixels (1, 3, height, width) -> scores, box distances and point distances, each for every stride."""


class DetectedFaces(NamedTuple):
    """The faces of a picture, the one with the highest score first.

    boxes: left, top, right and bottom in pixels, (faces, 4).
    points: x and y of eyes, nose and corners of the mouth in pixels, (faces, 5, 2).
    scores: how sure the network is, 0..1, (faces,).
    """

    boxes: Tensor
    points: Tensor
    scores: Tensor

    def pick(self, which: Tensor) -> DetectedFaces:
        """Some of the faces, by number or by mask."""
        return DetectedFaces(*(part[which] for part in self))

    def left_to_right(self) -> DetectedFaces:
        """The faces in the order of their centres."""
        return self.pick((self.boxes[:, 0] + self.boxes[:, 2]).argsort(stable=True))

    def largest(self) -> DetectedFaces:
        """The face with the largest box; empty when there are no faces."""
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).unbind(-1)
        return self.pick((width * height).argsort(descending=True, stable=True)[:1])


CHOICES: dict[str, Callable[[DetectedFaces, int], DetectedFaces]] = {
    "largest": lambda faces, index: faces.largest(),
    "all": lambda faces, index: faces.left_to_right(),
    "by index": lambda faces, index: faces.left_to_right().pick(torch.arange(len(faces.scores)) == index),
}
"""Which faces of a picture to use; index counts from 0, left to right."""


def detect(network: Network, picture: Tensor, canvas: tuple[int, int] | None = None) -> DetectedFaces:
    """The faces of a picture (height, width, 3) in eight-bit levels; without result, a smaller size is tried.

    canvas: height and width of the network's input when they are fixed. Raises ValueError as `decode` does.
    """
    height, width = canvas or (SIZES[0], SIZES[0])
    for room in dict.fromkeys((min(size, height), min(size, width)) for size in SIZES):
        pixels, scale = letterbox(picture, room, canvas or room)
        faces = decode(network(pixels), *pixels.shape[-2:])
        if len(faces.scores):
            break
    return DetectedFaces(faces.boxes / scale, faces.points / scale, faces.scores)


def letterbox(picture: Tensor, room: tuple[int, int], canvas: tuple[int, int]) -> tuple[Tensor, float]:
    """Pixels (1, 3, *canvas) with the whole picture in the upper left room, black around it; and its scale."""
    height, width = picture.shape[:2]
    ratio = height / width
    high = ratio > room[0] / room[1]
    fitted = (room[0], int(room[0] / ratio)) if high else (int(room[1] * ratio), room[1])
    fitted = max(1, fitted[0]), max(1, fitted[1])
    resized = interpolate(picture.movedim(-1, 0)[None], fitted, mode="bilinear")
    levels = pad(resized, (0, canvas[1] - fitted[1], 0, canvas[0] - fitted[0])).float()
    return (levels - _MEAN) / _SCALE, fitted[0] / height


def decode(outputs: Sequence[Tensor], height: int, width: int) -> DetectedFaces:
    """The faces in the outputs for pixels of this height and width; of several boxes over one face, the best is kept.

    Raises ValueError when the outputs are not for two anchors in each cell.
    """
    grids = [outputs[start : start + len(STRIDES)] for start in range(0, len(outputs), len(STRIDES))]
    per_stride = [_decode(stride, (height, width), *parts) for stride, *parts in zip(STRIDES, *grids, strict=True)]
    faces = DetectedFaces(*(torch.cat(part) for part in zip(*per_stride, strict=True)))
    return faces.pick(nms(faces.boxes, faces.scores, _OVERLAP))


def _decode(stride: int, size: tuple[int, int], scores: Tensor, sides: Tensor, points: Tensor) -> DetectedFaces:
    """The anchors of one grid with a sufficient score; distances are in cells, from the cell's upper left corner."""
    rows, columns = (length // stride for length in size)
    if scores.numel() != rows * columns * ANCHORS:
        raise ValueError(
            f"Use another face model; its detector gives {scores.numel()} scores for {rows}x{columns} "
            f"cells, and needed are {ANCHORS} for each, as SCRFD has them."
        )
    sure = scores.reshape(-1) >= _SCORE
    grid = torch.stack(torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy"), dim=-1)
    cells = repeat(grid, "rows columns xy -> (rows columns anchors) xy", anchors=ANCHORS)[sure]
    before, after = sides.reshape(-1, 4)[sure].chunk(2, dim=-1)
    boxes = torch.cat([cells - before, cells + after], dim=-1) * stride
    return DetectedFaces(boxes, (cells[:, None] + points.reshape(-1, 5, 2)[sure]) * stride, scores.reshape(-1)[sure])
