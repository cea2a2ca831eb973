"""Faces are cut out as insightface cuts them: the same transform, the same pixels."""

import cv2
import numpy as np
import pytest
import torch
from insightface.utils import face_align

from comfyui_ip_adapter.ip_adapter_core.faces.alignment import TEMPLATE, align, similarity, template

SIZES = (112, 224, 336, 128, 256)
pytestmark = pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")  # of scikit-image, on insightface


def smooth(seed: int, height: int = 240, width: int = 310) -> np.ndarray:
    """A picture whose levels change slowly, so that a wrong half pixel shows and rounding does not."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def points(seed: int) -> np.ndarray:
    """Five points of a face that is turned, far from the template, and partly outside of the picture."""
    generator = np.random.default_rng(seed)
    turned = TEMPLATE @ turn(generator.uniform(-0.6, 0.6)).T * generator.uniform(0.4, 2.5)
    return turned + generator.normal(0, 4, (5, 2)) + generator.uniform(-40, 90, 2)


def turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize(
    ("angle", "scale", "shift"), [(0.0, 1.0, (0, 0)), (0.7, 2.5, (-30, 12)), (-2.9, 0.1, (400, 5))]
)
def test_a_known_turn_scale_and_shift_is_found_exactly(angle: float, scale: float, shift: tuple[int, int]) -> None:
    matrix = scale * turn(angle)
    found = similarity(TEMPLATE, TEMPLATE @ matrix.T + shift)
    assert np.allclose(found, np.column_stack([matrix, shift]), atol=1e-10)


def test_no_small_change_brings_the_points_nearer() -> None:
    source = points(1)
    found = similarity(source, TEMPLATE)

    def distance(matrix: np.ndarray) -> float:
        return float(np.square(source @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE).sum())

    real, imaginary = np.eye(3)[:2], np.array([[0, -1, 0], [1, 0, 0]])
    for change in (real * (1, 1, 0), imaginary, np.eye(3)[2] * [[1], [0]], np.eye(3)[2] * [[0], [1]]):
        assert distance(found + 1e-4 * change) > distance(found)
        assert distance(found - 1e-4 * change) > distance(found)


def test_mirrored_points_are_not_mirrored_back() -> None:
    found = similarity(TEMPLATE * (-1, 1), TEMPLATE)
    assert np.linalg.det(found[:, :2]) > 0


@pytest.mark.parametrize("size", SIZES)
def test_the_transform_is_insightfaces(size: int) -> None:
    for seed in range(5):
        wanted = face_align.estimate_norm(points(seed), size)
        assert np.allclose(similarity(points(seed), template(size)), wanted, atol=1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_the_pixels_are_insightfaces(size: int) -> None:
    for seed in range(5):
        picture = smooth(seed)
        wanted = face_align.norm_crop(picture, points(seed), size)
        assert np.abs(cut(picture, points(seed), size) - wanted).max() <= 1  # rounding


@pytest.mark.parametrize("size", [56, 112, 224])
def test_the_pixels_are_opencvs_before_rounding(size: int) -> None:
    for seed in range(5):
        picture = smooth(seed)
        matrix = similarity(points(seed), template(size))
        wanted = cv2.warpAffine(picture.astype(np.float32), matrix, (size, size))
        assert np.abs(cut(picture, points(seed), size) - wanted).max() < 0.1


def cut(picture: np.ndarray, face: np.ndarray, size: int) -> np.ndarray:
    crops = align(torch.from_numpy(picture), torch.from_numpy(face)[None], size)
    assert crops.shape == (1, size, size, 3)
    return crops[0].numpy() * 255


def test_a_face_that_lies_as_it_should_is_copied() -> None:
    picture = smooth(0)
    assert np.abs(cut(picture, TEMPLATE, 112) - picture[:112, :112]).max() < 0.01
    assert np.abs(cut(picture, TEMPLATE + 20, 112) - picture[20:132, 20:132]).max() < 0.01


def test_outside_of_the_picture_is_black() -> None:
    crop = cut(smooth(0), TEMPLATE - (60, 0), 112)
    assert crop[:, :59].max() == 0
    assert crop[:, 61:].min() > 0


def test_the_eyes_of_every_face_come_to_the_same_place() -> None:
    faces = np.stack([TEMPLATE * 0.5 + 10, TEMPLATE * 1.5 + 40])
    picture = np.zeros((240, 310, 3), np.uint8)
    for eye in faces[:, 0].round().astype(int):
        cv2.circle(picture, tuple(map(int, eye)), 3, (255, 255, 255), -1)
    for crop in align(torch.from_numpy(picture), torch.from_numpy(faces), 224):
        brightest = np.argwhere(crop[..., 0].numpy() > 0.5).mean(axis=0)[::-1]
        assert np.abs(brightest - template(224)[0]).max() < 2


def test_points_in_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match="all in one place"):
        align(torch.zeros(8, 8, 3, dtype=torch.uint8), torch.ones(1, 5, 2), 112)


def test_no_faces_are_no_crops() -> None:
    assert align(torch.zeros(8, 8, 3, dtype=torch.uint8), torch.zeros(0, 5, 2), 112).shape == (0, 112, 112, 3)
