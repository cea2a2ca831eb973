"""Faces as PuLID sees them: cut out as facexlib cuts them, grey, and white where a mask says that there is no face."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.faces.features import Faces, Portrait
from comfyui_ip_adapter.ip_adapter_core.faces.on_white import POINTS, SIDE, cut_out, on_white


def smooth(height: int = 700, width: int = 640) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(height, width, 3))
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 6), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def face(picture: np.ndarray, points: np.ndarray | None) -> Faces:
    there = None if points is None else torch.from_numpy(points)
    return Faces(torch.zeros(1, 512), (Portrait(torch.from_numpy(picture), there),))


def cut(picture: np.ndarray, points: np.ndarray | None) -> Tensor:
    found = cut_out(face(picture, points))
    assert found is not None
    return found


@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (0.4, 0.6), (-0.3, 1.3)])
def test_it_is_cut_out_as_facexlib_cuts(angle: float, scale: float) -> None:
    """estimateAffinePartial2D of points that lie as the template does, whatever they are turned by, is exact."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points, picture = POINTS @ turn.T + (90, 40), smooth()
    matrix = cv2.estimateAffinePartial2D(points, POINTS, method=cv2.LMEDS)[0]
    wanted = cv2.warpAffine(picture, matrix, (SIDE, SIDE), borderValue=(255, 255, 255))
    found = cut(picture, points)[0] * 255
    assert np.abs(found.numpy() - wanted).mean() < 0.3


def test_where_the_picture_ends_it_is_white() -> None:
    found = cut(np.zeros((300, 300, 3), np.uint8), POINTS)
    assert bool((found[0, 301:] == 1).all())
    assert bool((found[0, :299, :299].abs() < 1e-6).all())


def test_opacity_is_cut_out_with_it() -> None:
    picture = smooth()
    found = cut(np.concatenate([picture, picture[..., :1]], -1), POINTS + 20)
    assert found.shape == (1, SIDE, SIDE, 4)
    torch.testing.assert_close(found[..., 3], found[..., 0], atol=1e-2, rtol=0)


def test_a_ready_crop_is_only_resized_and_without_pictures_there_is_none() -> None:
    assert cut(smooth(100, 100), None).shape == (1, SIDE, SIDE, 3)
    assert cut_out(Faces(torch.zeros(1, 512))) is None


def test_the_face_is_grey_and_the_rest_is_white() -> None:
    pictures = torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 8, 8)
    mask[:, :, :5] = 1
    found = on_white(pictures, mask, 8)
    red, green, blue = pictures[0, :, :5].unbind(-1)
    for channel in range(3):
        torch.testing.assert_close(found[0, :, :5, channel], 0.299 * red + 0.587 * green + 0.114 * blue)
        assert bool((found[0, :, 5:, channel] == 1).all())
    torch.testing.assert_close(on_white(pictures, None, 8)[0, :, :5], found[0, :, :5])


def test_it_is_resized_as_cv2_does_by_bicubic_interpolation_without_antialias() -> None:
    pictures = torch.from_numpy(smooth(SIDE, SIDE)).float()[None] / 255
    found = on_white(pictures, None, 336)
    grey = pictures[0].numpy() @ np.array([0.299, 0.587, 0.114], np.float32)
    wanted = cv2.resize(grey, (336, 336), interpolation=cv2.INTER_CUBIC)
    assert np.abs(found[0, ..., 0].numpy() - wanted).max() < 1e-4
