"""The picture of a face's five points: as InstantID's own drawing makes it, in any size, of every picture."""

import math

import cv2
import numpy as np
import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.faces.alignment import TEMPLATE
from comfyui_ip_adapter.ip_adapter_core.faces.features import Faces, Portrait
from comfyui_ip_adapter.ip_adapter_core.faces.key_points import COLOURS, draw, key_point_pictures

EYES_NOSE_MOUTH = [[100.0, 100.0], [200.0, 100.0], [150.0, 160.0], [110.0, 220.0], [190.0, 220.0]]


def turned(seed: int) -> torch.Tensor:
    """The points of a face, turned and scaled at random, (1, 5, 2), in a picture of 512x512."""
    generator = np.random.default_rng(seed)
    angle, scale = generator.uniform(-1, 1), generator.uniform(1, 4)
    turn = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return torch.from_numpy((TEMPLATE - 56) @ np.array(turn).T * scale + 256 + generator.uniform(-40, 40, 2))[None]


def by_opencv(points: np.ndarray, size: int) -> np.ndarray:
    """The same sticks and discs by OpenCV, which InstantID draws with: (size, size, 3) in eight-bit levels."""
    canvas = np.zeros((size, size, 3))
    for index in (0, 1, 3, 4):
        (left, top), (right, bottom) = points[index], points[2]
        middle = int((left + right) / 2), int((top + bottom) / 2)
        axes = int(math.dist(points[index], points[2]) / 2), 4
        angle = int(math.degrees(math.atan2(top - bottom, left - right)))
        cv2.fillConvexPoly(canvas, cv2.ellipse2Poly(middle, axes, angle, 0, 360, 1), COLOURS[index])
    levels = (canvas * 0.6).astype(np.uint8)
    for (x, y), colour in zip(points, COLOURS, strict=True):
        cv2.circle(levels, (int(x), int(y)), 10, colour, -1)
    return levels


def faces(*pictures: torch.Tensor, points: list[list[float]] = EYES_NOSE_MOUTH, gaps: tuple[int, ...] = ()) -> Faces:
    portraits = tuple(Portrait(picture, torch.tensor(points)) for picture in pictures)
    return Faces(torch.randn(len(pictures), 512), portraits, gaps)


def picture(height: int = 300, width: int = 400) -> torch.Tensor:
    return torch.zeros(height, width, 3, dtype=torch.uint8)


def centres(drawn: torch.Tensor) -> list[tuple[float, float]]:
    """The middle of each of the five full colours, x and y."""
    found = [(drawn == torch.tensor(colour) / 255).all(-1).nonzero().float().mean(0) for colour in COLOURS]
    return [(float(x), float(y)) for y, x in found]


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_opencv_draws_but_for_single_pixels_at_the_edges_of_sticks(seed: int) -> None:
    points = turned(seed)
    reference = by_opencv(points[0].numpy(), 512)
    mine = (draw(points, (512, 512)) * 255).round().numpy().astype(np.uint8)
    differ = (reference != mine).any(-1)
    edges = cv2.morphologyEx(reference.max(-1), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    joints = cv2.morphologyEx(reference, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).any(-1)
    assert not (differ & ~(edges | joints)).any()
    assert differ.sum() < 0.06 * reference.any(-1).sum()


def test_each_point_has_its_colour_and_each_stick_that_of_its_outer_end_dimmed() -> None:
    drawn = (draw(torch.tensor([EYES_NOSE_MOUTH]), (300, 300)) * 255).round().int()
    assert [tuple(drawn[int(y), int(x)].tolist()) for x, y in EYES_NOSE_MOUTH] == list(COLOURS)
    halfway = [drawn[130, 125], drawn[130, 175], drawn[190, 130], drawn[190, 170]]
    assert [tuple(level.tolist()) for level in halfway] == [(153, 0, 0), (0, 153, 0), (153, 153, 0), (153, 0, 153)]
    assert tuple(drawn[0, 0].tolist()) == (0, 0, 0)


def test_a_disc_has_a_radius_of_ten_pixels_and_a_stick_a_width_of_nine() -> None:
    drawn = draw(torch.tensor([EYES_NOSE_MOUTH]), (300, 300))
    assert int((drawn[100, :125, 0] == 1).sum()) == 21
    across = draw(
        torch.tensor([[[50.0, 100.0], [50.0, 100.0], [250.0, 100.0], [50.0, 100.0], [50.0, 100.0]]]), (200, 300)
    )
    assert int((across[:, 150] > 0).any(-1).sum()) == 9


def test_without_a_size_the_points_lie_as_in_the_picture() -> None:
    drawn = key_point_pictures(faces(picture()))
    assert drawn.shape == (1, 300, 400, 3)
    assert torch.equal(drawn[0], draw(torch.tensor([EYES_NOSE_MOUTH]), (300, 400)))


@pytest.mark.parametrize(("size", "became"), [((600, 0), (600, 800)), ((0, 200), (150, 200)), ((600, 800), (600, 800))])
def test_a_size_of_the_same_shape_scales_the_points_and_not_the_discs(
    size: tuple[int, int], became: tuple[int, int]
) -> None:
    (drawn,) = key_point_pictures(faces(picture()), size)
    assert drawn.shape[:2] == became
    scale = became[0] / 300
    wide = key_point_pictures(faces(picture()), (3000, 0))[0]
    assert centres(drawn)[1] == pytest.approx((200 * scale, 100 * scale), abs=1)
    assert int((wide == torch.tensor(COLOURS[0]) / 255).all(-1).sum()) == 317


@pytest.mark.parametrize("size", [(256, 256), (200, 400), (512, 256)])
def test_of_another_shape_the_middle_is_drawn_as_comfyui_cuts_hints(size: tuple[int, int]) -> None:
    height, width = size
    (drawn,) = key_point_pictures(faces(picture()), size)
    scale = max(height / 300, width / 400)
    wanted = [((x - 200) * scale + width / 2, (y - 150) * scale + height / 2) for x, y in EYES_NOSE_MOUTH]
    nose = (drawn == torch.tensor(COLOURS[2]) / 255).all(-1).nonzero().float().mean(0)
    assert nose.flip(0).tolist() == pytest.approx(wanted[2], abs=1)


def test_all_faces_of_one_picture_are_drawn_together_and_each_picture_has_its_own() -> None:
    first, second = picture(), picture()
    (both, alone) = key_point_pictures(faces(first, first, second))
    assert torch.equal(both, alone)
    moved = [[x + 150, y] for x, y in EYES_NOSE_MOUTH]
    portraits = tuple(Portrait(first, torch.tensor(points)) for points in (EYES_NOSE_MOUTH, moved))
    (two,) = key_point_pictures(Faces(torch.randn(2, 512), portraits))
    assert [tuple(two[100, x].tolist()) for x in (100, 250)] == [(1.0, 0.0, 0.0)] * 2


@pytest.mark.parametrize(
    ("gaps", "black"),
    [((0,), [0]), ((1,), [1]), ((2,), [2]), ((0, 1), [0, 1]), ((0, 2, 4), [0, 2, 4]), ((2, 3), [2, 3])],
)
def test_a_picture_without_a_face_is_black_in_its_place(gaps: tuple[int, ...], black: list[int]) -> None:
    drawn = key_point_pictures(faces(picture(), picture(), gaps=gaps))
    assert len(drawn) == 2 + len(gaps)
    assert [index for index, one in enumerate(drawn) if not one.any()] == black


def test_faces_without_points_are_refused() -> None:
    ready = Faces(torch.randn(1, 512), (Portrait(picture()),))
    for without in (ready, Faces(torch.randn(1, 512))):
        with pytest.raises(ValueError, match=r"^Connect Face Embedding, which finds eyes, nose and mouth"):
            key_point_pictures(without)


def test_a_face_that_the_size_cuts_off_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^Set width and height to the shape of the picture, 1000x300, .* 256x256 its"
    ):
        key_point_pictures(faces(picture(300, 1000)), (256, 256))


def test_pictures_of_several_sizes_need_one() -> None:
    several = faces(picture(), picture(320, 400))
    with pytest.raises(ValueError, match=r"^Set width and height; .* different sizes: 400x300, 400x320\."):
        key_point_pictures(several)
    assert key_point_pictures(several, (256, 256)).shape == (2, 256, 256, 3)
