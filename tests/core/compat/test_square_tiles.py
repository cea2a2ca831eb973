"""The tiles of the old pack: where they lie in a reference of any shape, and where they act."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.compat.square_tiles import Tiles, masked_tiles, square_tiles
from comfyui_ip_adapter.ip_adapter_core.vision.prepare import sharpen
from drawn import draw

Corner = tuple[int, int]
Box = tuple[int, int, int, int]  # top, bottom, left, right; the ends excluded


def picture(height: int, width: int, count: int = 1) -> Tensor:
    """Pictures in eight-bit levels."""
    return (draw(count, height, width, 3).sigmoid() * 255).round() / 255


def resized(levels: np.ndarray, width: int, height: int) -> Tensor:
    return torch.from_numpy(np.array(Image.fromarray(levels).resize((width, height), Image.Resampling.LANCZOS))) / 255


def boxes(found: Tiles) -> list[Box]:
    """The smallest box around what each mask covers."""
    places = [torch.nonzero(mask[0]) for mask in found.masks]
    return [(*_ends(place[:, 0]), *_ends(place[:, 1])) for place in places]


def _ends(numbers: Tensor) -> Corner:
    return int(numbers.min()), int(numbers.max()) + 1


# The tiles of IPAdapter Tiled

PLACES: list[tuple[int, int, Corner, list[Corner]]] = [
    (64, 64, (512, 512), [(0, 0), (0, 256), (256, 0), (256, 256)]),
    (300, 230, (512, 512), [(0, 0), (0, 256), (256, 0), (256, 256)]),  # 1.30
    (300, 400, (256, 341), [(0, 0), (0, 85)]),  # 0.75 is no square
    (400, 300, (341, 256), [(0, 0), (85, 0)]),
    (700, 256, (700, 256), [(0, 0), (222, 0), (444, 0)]),
    (120, 480, (256, 1024), [(0, 0), (0, 256), (0, 512), (0, 768)]),
    (90, 900, (256, 1024), [(0, 0), (0, 256), (0, 512), (0, 768)]),  # the middle of a longer one
    (900, 90, (1024, 256), [(0, 0), (256, 0), (512, 0), (768, 0)]),
]


@pytest.mark.parametrize(("height", "width", "size", "corners"), PLACES)
def test_tiles_lie_evenly_over_the_reference(height: int, width: int, size: Corner, corners: list[Corner]) -> None:
    found = square_tiles(picture(height, width, 2))
    assert {tuple(mask.shape) for mask in found.masks} == {(1, *size)}
    assert {tuple(tile.shape) for tile in found.pictures} == {(2, 256, 256, 3)}
    assert [(top, left) for top, _, left, _ in boxes(found)] == corners
    assert all((bottom - top, right - left) == (256, 256) for top, bottom, left, right in boxes(found))


def test_tiles_show_the_resized_reference() -> None:
    images = picture(300, 500, 2)
    found = square_tiles(images)
    for number, image in enumerate(images):
        whole = resized((image * 255).round().byte().numpy(), int(256 * 500 / 300), 256)
        assert torch.equal(found.pictures[0][number], whole[:, :256])
        assert torch.equal(found.pictures[1][number], whole[:, -256:])


def test_a_picture_that_is_almost_square_is_cut_to_its_middle() -> None:
    images = picture(90, 100)
    whole = resized((images[0, :, 5:95] * 255).round().byte().numpy(), 512, 512)
    assert torch.equal(square_tiles(images).pictures[3][0], whole[256:, 256:])


def test_levels_between_those_of_eight_bits_are_rounded_down() -> None:
    levels = (draw(1, 60, 60, 3).sigmoid() * 254).floor()
    between, below = (square_tiles((levels + more) / 255).pictures for more in (0.9, 0.0))
    assert all(map(torch.equal, between, below))


def test_a_reference_is_sharpened_before_it_is_cut() -> None:
    whole = resized((picture(256, 600)[0] * 255).round().byte().numpy(), 600, 256)[None]
    found = square_tiles(picture(256, 600), sharpening=0.5)
    assert torch.allclose(found.pictures[1], sharpen(whole, 0.5)[:, :, 172:428], atol=1e-6)


def test_a_mask_is_stretched_over_the_reference_and_cut_with_it() -> None:
    mask = torch.zeros(2, 10, 20)
    mask[0, :, :10] = 1
    mask[1] = 0.5
    left, right = square_tiles(picture(256, 512), mask).masks
    assert left.shape == right.shape == (2, 256, 512)
    assert torch.allclose(left[0, :, :200], torch.ones(256, 200), atol=1e-5)
    assert left[:, :, 256:].abs().max() == right[:, :, :256].abs().max() == 0
    assert right[0, :, 320:].abs().max() < 1e-5
    assert torch.allclose(right[1, :, 256:], torch.full((256, 256), 0.5), atol=1e-5)
    assert left.max() > 1.01  # the overshoot of the interpolation is part of the old numbers


def test_tiles_that_share_the_place_together_act_once() -> None:
    mask = torch.zeros(1, 30, 60)
    mask[..., 10:50] = 1
    plain = square_tiles(picture(256, 700), mask)
    shared = plain.sharing()
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(shared.pictures, plain.pictures, strict=True))
    assert torch.stack(plain.masks).sum(0).max() > 1.9
    assert torch.stack(shared.masks).sum(0).max() <= 1 + 1e-6
    assert torch.stack(shared.masks).min() >= 0
    assert torch.stack(shared.masks).sum(0)[:, :, 150:550].min() > 0.99


# The masked tiles of before version 2

OLD_PLACES: list[tuple[int, int, int, Corner, list[Box]]] = [
    (100, 100, 1, (224, 224), [(0, 224, 0, 224)]),
    (224, 280, 1, (224, 280), [(0, 224, 0, 224), (0, 224, 56, 280)]),  # a rest of a quarter has a tile
    (224, 279, 1, (224, 279), [(0, 224, 27, 278)]),  # a smaller one makes the tile longer
    (600, 400, 1, (336, 224), [(0, 224, 0, 224), (112, 336, 0, 224)]),
    (100, 201, 1, (224, 450), [(0, 224, 1, 226), (0, 224, 225, 450)]),
]


@pytest.mark.parametrize(("height", "width", "short", "size", "places"), OLD_PLACES)
def test_old_tiles_cover_the_reference_in_one_direction(
    height: int, width: int, short: int, size: Corner, places: list[Box]
) -> None:
    found = masked_tiles(picture(height, width, 2), short, 0.6)
    assert boxes(found) == places
    assert {tuple(mask.shape) for mask in found.masks} == {(1, *size)}
    assert all(set(mask.unique().tolist()) <= {0.0, 1.0} for mask in found.masks)


def test_old_tiles_show_the_first_reference_alone() -> None:
    images = picture(224, 448, 2)
    found = masked_tiles(images, 1, 0.6)
    assert torch.equal(torch.cat(found.pictures, dim=2), images[:1])


def test_beneath_tiles_in_both_directions_lie_large_ones_of_full_weight() -> None:
    images = picture(300, 600)
    found = masked_tiles(images, 2, 0.6)
    large, small = Tiles(found.pictures[:2], found.masks[:2]), Tiles(found.pictures[2:], found.masks[2:])
    assert boxes(small) == [(top, top + 224, left, left + 224) for top in (0, 224) for left in (0, 224, 448, 672)]
    assert all(mask.unique().tolist() == pytest.approx([0.0, 0.6]) for mask in small.masks)
    assert torch.allclose(large.masks[0][0, :, :440], torch.ones(448, 440), atol=1e-6)
    assert torch.allclose(large.masks[1][0, :, 456:], torch.ones(448, 440), atol=1e-6)
    whole = torch.nn.functional.interpolate(images.permute(0, 3, 1, 2), (448, 896), mode="bicubic")
    halves = torch.nn.functional.interpolate(whole, (224, 448), mode="bicubic").permute(0, 2, 3, 1)
    assert torch.allclose(torch.cat(large.pictures, dim=2), halves, atol=1e-6)


def test_large_tiles_have_the_shape_of_the_small_ones() -> None:
    found = masked_tiles(picture(400, 640), 2, 0.6)
    assert {tuple(tile.shape) for tile in found.pictures} == {(1, 224, 246, 3)}
    assert {tuple(mask.shape) for mask in found.masks} == {(1, 448, 716)}


def test_without_old_tiles_the_pictures_act_everywhere() -> None:
    images = picture(40, 60, 2)
    found = masked_tiles(images, 0, 0.6)
    assert len(found.pictures) == len(found.masks) == 1
    assert torch.equal(found.pictures[0], images)
    assert torch.equal(found.masks[0], torch.ones(1, 40, 60))
