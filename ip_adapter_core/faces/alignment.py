"""Cutting faces out of pictures so that eyes, nose and mouth always have the same places in the crop."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

# Left eye, right eye, nose, left and right corner of the mouth in a crop of 112 pixels (insightface, face_align.py).
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_TIGHT, _WIDE, _BORDER = 112, 128, np.array([8, 0])  # sides of two conventions in pixels; the wide one has a border


def align(picture: Tensor, points: Tensor, size: int, target: np.ndarray | None = None) -> Tensor:
    """The crops of several faces of one picture, (faces, size, size, channels), 0..1, black where the picture ends.

    picture: (height, width, channels) in eight-bit levels; points: (faces, 5, 2), x and y in pixels; target: where they
    lie in the crop, (5, 2), by default those of `template`. Raises ValueError when the points of a face are
    all in one place.
    """
    there = template(size) if target is None else target
    source = picture.movedim(-1, 0)[None].float() / 255
    crops = [_warp(source, similarity(face.double().numpy(), there), size) for face in points.cpu()]
    return torch.stack(crops) if crops else picture.new_empty(0, size, size, picture.shape[-1], dtype=torch.float32)


def template(size: int) -> np.ndarray:
    """Where the five points lie in a crop of this size, (5, 2): tight for multiples of 112, else with a border."""
    if size % _TIGHT == 0:
        return TEMPLATE * (size / _TIGHT)
    return (TEMPLATE + _BORDER) * (size / _WIDE)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift, (2, 3), that moves points (points, 2) closest to target points in least squares.

    It equals Umeyama (1991) without reflection: in the plane, rotation and scale are one complex number.
    Raises ValueError when the source points are all in one place.
    """
    here, there = (points[:, 0] + 1j * points[:, 1] for points in (source, target))
    spread = here - here.mean()
    if not np.abs(spread).max() > 0:
        raise ValueError(
            "Use another picture; the five points of a face are all in one place, so it cannot be cut out."
        )
    turn = np.vdot(spread, there - there.mean()) / np.vdot(spread, spread)
    shift = there.mean() - turn * here.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def _warp(source: Tensor, matrix: np.ndarray, size: int) -> Tensor:
    """The crop of a source (1, channels, height, width), bilinear.

    Pixel centres are whole numbers, as in cv2.warpAffine.
    """
    height, width = source.shape[-2:]
    turn, shift = matrix[:, :2], matrix[:, 2]
    pixels = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1)
    points = (pixels - shift) @ np.linalg.inv(turn).T
    grid = (2 * points + 1) / (width, height) - 1  # grid_sample counts from border to border
    crop = grid_sample(source, torch.from_numpy(grid)[None].to(source), padding_mode="zeros", align_corners=False)
    return crop[0].movedim(0, -1)
