"""From a detector's outputs to boxes and points: hand-made outputs, and the fabricated detector on drawn pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.faces.detection import (
    ANCHORS,
    CHOICES,
    STRIDES,
    DetectedFaces,
    decode,
    detect,
    letterbox,
)
from comfyui_ip_adapter.ip_adapter_core.faces.networks import Detector
from fabricate.faces import Square, detector, picture

HEIGHT, WIDTH = 64, 96
Outputs = list[torch.Tensor]


def silent() -> Outputs:
    """Outputs for HEIGHT x WIDTH pixels in which there is no face."""
    cells = [(HEIGHT // stride) * (WIDTH // stride) * ANCHORS for stride in STRIDES]
    return [torch.zeros(count, width) for width in (1, 4, 10) for count in cells]


def say(outputs: Outputs, stride: int, row: int, column: int, score: float, anchor: int = 0, side: float = 1) -> None:
    """Put a face into outputs: a box around the cell, farther to the right than up, with points on a diagonal."""
    grid = STRIDES.index(stride)
    place = (row * (WIDTH // stride) + column) * ANCHORS + anchor
    outputs[grid][place] = score
    outputs[grid + 3][place] = torch.tensor([1, 0.5, 2, 1.5]) * side
    outputs[grid + 6][place] = torch.arange(10) / 10


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("anchor", range(ANCHORS))
def test_a_face_lies_where_its_cell_and_distances_say(stride: int, anchor: int) -> None:
    outputs = silent()
    say(outputs, stride, row=1, column=2, score=0.75, anchor=anchor)
    found = decode(outputs, HEIGHT, WIDTH)
    assert torch.equal(found.boxes, torch.tensor([[1, 0.5, 4, 2.5]]) * stride)
    wanted = (torch.tensor([[2.0, 1.0]]) + torch.arange(10).reshape(5, 2) / 10) * stride
    assert torch.allclose(found.points, wanted[None])
    assert torch.equal(found.scores, torch.tensor([0.75]))


def test_unsure_anchors_are_no_faces() -> None:
    outputs = silent()
    say(outputs, 8, 1, 1, score=0.49)
    assert decode(outputs, HEIGHT, WIDTH).points.shape == (0, 5, 2)


def test_of_boxes_over_one_face_the_surest_stays() -> None:
    outputs = silent()
    say(outputs, 8, 2, 2, score=0.8, side=2)
    say(outputs, 8, 2, 2, score=0.9, anchor=1, side=2.2)
    say(outputs, 16, 1, 1, score=0.7, side=1)
    say(outputs, 8, 2, 9, score=0.6, side=2)
    assert torch.equal(decode(outputs, HEIGHT, WIDTH).scores, torch.tensor([0.9, 0.6]))


def test_outputs_may_have_a_batch_axis() -> None:
    outputs = silent()
    say(outputs, 16, 1, 2, score=0.75)
    batched = decode([output[None] for output in outputs], HEIGHT, WIDTH)
    for one, other in zip(batched, decode(outputs, HEIGHT, WIDTH), strict=True):
        assert torch.equal(one, other)


def test_another_number_of_anchors_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gives 96 scores for 8x12 cells, and needed are 2 for each"):
        decode([output[: len(output) // 2] for output in silent()], HEIGHT, WIDTH)


# How pictures reach the detector


@pytest.mark.parametrize(("size", "fitted"), [((100, 200), (320, 640)), ((200, 100), (640, 320)), ((7, 7), (640, 640))])
def test_the_whole_picture_lies_in_the_upper_left_corner(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    white = torch.full((*size, 3), 255, dtype=torch.uint8)
    pixels, scale = letterbox(white, (640, 640), (640, 640))
    assert pixels.shape == (1, 3, 640, 640)
    assert scale == fitted[0] / size[0]
    inside = pixels[..., : fitted[0], : fitted[1]]
    assert torch.equal(inside, torch.full_like(inside, 127.5 / 128))
    assert (pixels == -127.5 / 128).sum() == pixels.numel() - inside.numel()


def test_a_very_narrow_picture_keeps_a_column() -> None:
    pixels, _ = letterbox(torch.full((2000, 1, 3), 255, dtype=torch.uint8), (640, 640), (640, 640))
    assert (pixels > 0).sum() == 3 * 640


def test_colours_stay_in_their_order() -> None:
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).expand(64, 64, 3)
    pixels, _ = letterbox(red, (64, 64), (64, 64))
    assert torch.equal(pixels[0, :, 5, 5] > 0, torch.tensor([True, False, False]))


def asked(canvas: tuple[int, int] | None, found_at: int = 0) -> list[tuple[int, ...]]:
    """The sizes at which a network is asked that finds a face only in pictures of `found_at` pixels."""
    sizes = []

    def network(pixels: torch.Tensor) -> Sequence[torch.Tensor]:
        drawn = (pixels[0, 0] > -0.9).nonzero().amax(dim=0) + 1
        sizes.append((*pixels.shape[-2:], *drawn.tolist()))
        cells = [(pixels.shape[-2] // stride) * (pixels.shape[-1] // stride) * ANCHORS for stride in STRIDES]
        outputs = [torch.zeros(count, width) for width in (1, 4, 10) for count in cells]
        outputs[0][0] = float(drawn[1] == found_at)
        return outputs

    detect(network, torch.full((50, 50, 3), 128, dtype=torch.uint8), canvas)
    return sizes


def test_smaller_sizes_are_tried_until_a_face_is_found() -> None:
    assert asked(None, found_at=640) == [(640, 640, 640, 640)]
    assert [size[0] for size in asked(None, found_at=448)] == [640, 576, 512, 448]
    assert [size[0] for size in asked(None)] == [640, 576, 512, 448, 384, 320, 256]


def test_a_network_of_one_size_sees_smaller_pictures_on_its_own_canvas() -> None:
    assert asked((320, 320)) == [(320, 320, 320, 320), (320, 320, 256, 256)]
    assert asked((480, 640), found_at=384)[-1] == (480, 640, 384, 384)


# Which faces are meant


def three() -> DetectedFaces:
    """The middle one surest, the right one largest."""
    boxes = torch.tensor([[40.0, 0, 50, 10], [90, 0, 120, 30], [0, 0, 20, 20]])
    return DetectedFaces(boxes, torch.arange(3.0)[:, None, None].expand(3, 5, 2), torch.tensor([0.9, 0.8, 0.7]))


@pytest.mark.parametrize(
    ("choice", "index", "wanted"),
    [
        ("largest", 0, [90]),
        ("largest", 2, [90]),
        ("all", 0, [0, 40, 90]),
        ("by index", 0, [0]),
        ("by index", 1, [40]),
        ("by index", 2, [90]),
        ("by index", 3, []),
    ],
)
def test_faces_are_chosen_by_size_and_place(choice: str, index: int, wanted: list[int]) -> None:
    assert CHOICES[choice](three(), index).boxes[:, 0].tolist() == wanted


@pytest.mark.parametrize("choice", CHOICES)
def test_of_no_faces_none_is_chosen(choice: str) -> None:
    nothing = three().pick(torch.zeros(3, dtype=torch.bool))
    assert len(CHOICES[choice](nothing, 0).scores) == 0


# A real detector


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return made(tmp_path_factory.mktemp("detector"))


def made(folder: Path, canvas: tuple[int, int] | None = None) -> Detector:
    onnx.save(detector(canvas=canvas) if canvas else detector(), folder / "det.onnx")
    return Detector(folder / "det.onnx")


def found_in(finder: Detector, size: tuple[int, int], *faces: Square) -> DetectedFaces:
    return finder((picture(*size, *faces)[0] * 255).round().to(torch.uint8)).left_to_right()


@pytest.mark.parametrize(
    ("size", "faces"),
    [
        ((640, 640), [Square(200, 250, 50)]),
        ((640, 640), [Square(101, 57, 96)]),
        ((480, 640), [Square(60, 70, 40), Square(400, 200, 190)]),
        ((100, 80), [Square(10, 20, 20)]),
        ((1500, 2000), [Square(300, 600, 220), Square(1500, 200, 120)]),
        ((400, 300), [Square(90, 150, 45)]),
    ],
)
def test_drawn_faces_are_found_where_they_were_drawn(
    finder: Detector, size: tuple[int, int], faces: list[Square]
) -> None:
    found = found_in(finder, size, *faces)
    assert len(found.scores) == len(faces)
    pixel = max(1.0, max(size) / 640)  # of the detector, in the picture
    for boxes, points, face in zip(found.boxes, found.points, faces, strict=True):
        assert np.abs(boxes.numpy() - face.box).max() < pixel
        assert np.abs(points.numpy() - face.points).max() < pixel


@pytest.mark.parametrize("side", [350, 450, 600])
def test_a_face_that_fills_the_picture_is_found_in_a_smaller_one(finder: Detector, side: int) -> None:
    face = Square(20, 10, side)
    found = found_in(finder, (640, 640), face)
    assert len(found.scores) == 1
    assert np.abs(found.points[0].numpy() - face.points).max() < 2


def test_in_an_empty_picture_nothing_is_found(finder: Detector) -> None:
    assert len(found_in(finder, (300, 400)).scores) == 0


def test_a_network_of_one_size_finds_the_same(finder: Detector, tmp_path: Path) -> None:
    fixed = made(tmp_path, canvas=(640, 640))
    for face in (Square(200, 250, 50), Square(20, 10, 450)):
        one, other = (found_in(which, (640, 640), face) for which in (finder, fixed))
        assert len(one.scores) == 1
        assert (one.points - other.points).abs().max() < 1e-2
