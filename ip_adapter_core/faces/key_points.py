"""The picture that InstantID's ControlNet looks at: the five points of each face, joined by sticks."""

from __future__ import annotations

from itertools import groupby
from math import atan2, cos, degrees, hypot, radians, sin

import torch
from torch import Tensor

from .features import Faces, Portrait

# All from InstantID, pipeline_stable_diffusion_xl_instantid.py, draw_kps; lengths in pixels.
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
"""Of left eye, right eye, nose, left and right corner of the mouth, in eight-bit levels."""

_NOSE, _OTHERS = 2, (0, 1, 3, 4)  # a stick joins each of the others to the nose, in the colour of the other
_RADIUS, _HALF_WIDTH, _DIMMED = 10, 4, 0.6
_ROUNDED = 0.5  # the reference fills polygons of whole pixels, which reach half a pixel beyond the ellipse

Size = tuple[int, int]
"""Height and width in pixels."""
Point = tuple[float, float]


def key_point_pictures(faces: Faces, size: Size = (0, 0)) -> Tensor:
    """The points of faces on black, (pictures, height, width, 3), 0..1: those of one picture together.

    A picture without a face is black. size: of what is drawn; a length of 0 follows from the other one and the shape
    of the picture. Of a picture of another shape the middle is taken, as ComfyUI does with pictures for ControlNets.
    Raises ValueError when there are no points, when those of a picture lie all outside of what is drawn, and when size
    leaves pictures of different sizes as they are.
    """
    pictures = _pictures(faces)
    sizes = {_size(portraits[0].picture, size) for portraits in pictures if portraits}
    if len(sizes) > 1:
        found = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
        raise ValueError(f"Set width and height; the pictures of these faces have different sizes: {found}.")
    (together,) = sizes
    return torch.stack([draw(_placed(portraits, together), together) for portraits in pictures])


def draw(points: Tensor, size: Size) -> Tensor:
    """Faces with these points, (faces, 5, 2), x and y in pixels, on black: (height, width, 3), 0..1."""
    levels = torch.zeros(*size, 3)
    everyone: list[list[Point]] = points.tolist()
    for face in everyone:
        for index in _OTHERS:
            levels[_stick(face[index], face[_NOSE], size)] = torch.tensor(COLOURS[index]) * _DIMMED
    for face in everyone:
        for point, colour in zip(face, COLOURS, strict=True):
            levels[_disc(point, size)] = torch.tensor(colour, dtype=levels.dtype)
    return levels.floor() / 255


def _pictures(faces: Faces) -> list[list[Portrait]]:
    """The faces of each picture; none for a gap. Raises ValueError where a face has no points."""
    if not faces.portraits or any(portrait.points is None for portrait in faces.portraits):
        raise ValueError(
            "Connect Face Embedding, which finds eyes, nose and mouth in a picture; of these faces, which are "
            "ready-made or cut out already, nobody knows where they are."
        )
    places: list[Portrait | None] = list(faces.portraits)
    for gap in sorted(faces.gaps):
        places.insert(gap, None)
    pictures: list[list[Portrait]] = []
    for picture, group in groupby(places, key=lambda portrait: portrait and id(portrait.picture)):
        members = list(group)
        pictures += [[portrait for portrait in members if portrait]] if picture else [[] for _ in members]
    return pictures


def _size(picture: Tensor, size: Size) -> Size:
    """Height and width of what is drawn of a picture (height, width, 3)."""
    own_height, own_width = picture.shape[:2]
    height, width = size
    if not (height or width):
        return own_height, own_width
    return height or max(1, round(width * own_height / own_width)), width or max(
        1, round(height * own_width / own_height)
    )


def _placed(portraits: list[Portrait], size: Size) -> Tensor:
    """The points of the faces of one picture, (faces, 5, 2), where they lie when its middle fills the size."""
    if not portraits:
        return torch.zeros(0, 5, 2)
    whole = torch.tensor([portraits[0].picture.shape[1], portraits[0].picture.shape[0]])
    wanted = torch.tensor([size[1], size[0]])
    points = torch.stack([portrait.points for portrait in portraits if portrait.points is not None]).cpu().double()
    placed = (points - whole / 2) * (wanted / whole).max() + wanted / 2
    if not ((placed >= 0) & (placed < wanted)).all(-1).any():
        raise ValueError(
            f"Set width and height to the shape of the picture, {whole[0]}x{whole[1]}, or crop it to the face; of a "
            f"picture of {size[1]}x{size[0]} its middle is drawn, and there is no face in it."
        )
    return placed


def _stick(one: Point, other: Point, size: Size) -> Tensor:
    """Where an ellipse lies that reaches from one point to another, (height, width) of booleans."""
    across, along = one[0] - other[0], one[1] - other[1]
    turn = radians(int(degrees(atan2(along, across))))
    x, y = _from((int((one[0] + other[0]) / 2), int((one[1] + other[1]) / 2)), size)
    half_length = int(hypot(across, along) / 2) + _ROUNDED
    ahead, aside = x * cos(turn) + y * sin(turn), y * cos(turn) - x * sin(turn)
    return (ahead / half_length) ** 2 + (aside / (_HALF_WIDTH + _ROUNDED)) ** 2 <= 1


def _disc(point: Point, size: Size) -> Tensor:
    """Where a disc around a point lies, (height, width) of booleans."""
    x, y = _from((int(point[0]), int(point[1])), size)
    return x**2 + y**2 <= _RADIUS**2


def _from(centre: tuple[int, int], size: Size) -> tuple[Tensor, Tensor]:
    """How far right of a pixel and below it every pixel lies, (1, width) and (height, 1)."""
    return torch.arange(size[1])[None] - centre[0], torch.arange(size[0])[:, None] - centre[1]
