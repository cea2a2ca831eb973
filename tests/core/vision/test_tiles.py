"""Square tiles cover a picture of any shape, and their masks share it out without gap or excess."""

from itertools import pairwise, product

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.vision.tiles import MOST, Tile, cut, masks, tiles

SHAPES = [
    (64, 512),  # 1:8
    (60, 201),
    (64, 192),
    (63, 64),
    (64, 64),
    (100, 75),
    (97, 31),
    (512, 64),  # 8:1
    (5, 7),
]
CASES = [(*shape, count) for shape, count in product(SHAPES, (1, 2, 3, 4)) if max(shape) < 500 or count < 3]
every_case = pytest.mark.parametrize(("height", "width", "count"), CASES)


def covered(parts: tuple[Tile, ...], height: int, width: int) -> torch.Tensor:
    """How many tiles hold each pixel."""
    found = torch.zeros(height, width)
    for left, top, right, bottom in (tile.box for tile in parts):
        found[top:bottom, left:right] += 1
    return found


@every_case
def test_tiles_are_equal_squares_inside_the_picture_and_leave_no_pixel_out(height: int, width: int, count: int) -> None:
    parts = tiles(height, width, count)
    side = -(-min(height, width) // count)
    for left, top, right, bottom in (tile.box for tile in parts):
        assert (right - left, bottom - top) == (side, side)
        assert min(left, top) >= 0
        assert right <= width
        assert bottom <= height
    assert covered(parts, height, width).min() == 1


@every_case
def test_the_number_of_tiles_is_as_asked_on_the_short_side_and_the_least_on_the_long_one(
    height: int, width: int, count: int
) -> None:
    parts = tiles(height, width, count)
    side = -(-min(height, width) // count)
    rows, columns = {tile.box[1] for tile in parts}, {tile.box[0] for tile in parts}
    long, short = sorted((rows, columns), key=len, reverse=True)
    assert len(short) == count
    assert len(long) == -(-max(height, width) // side)
    assert len(parts) == len(set(parts)) == len(long) * len(short)


@every_case
def test_tiles_overlap_evenly_to_a_pixel(height: int, width: int, count: int) -> None:
    parts = tiles(height, width, count)
    for axis in (0, 1):
        starts = sorted({tile.box[axis] for tile in parts})
        steps = [after - before for before, after in pairwise(starts)]
        assert not steps or max(steps) - min(steps) <= 1


def test_tiles_stand_row_by_row() -> None:
    corners = [tile.box[:2] for tile in tiles(4, 8, 2)]
    assert corners == [(0, 0), (2, 0), (4, 0), (6, 0), (0, 2), (2, 2), (4, 2), (6, 2)]


def test_a_square_picture_is_one_tile_with_a_mask_of_ones() -> None:
    parts = tiles(96, 96, 1)
    assert parts == (Tile((0, 0, 96, 96)),)
    assert torch.equal(masks(parts, 96, 96), torch.ones(1, 96, 96))
    assert torch.equal(masks(parts, 13, 7), torch.ones(1, 13, 7))


@every_case
def test_masks_sum_to_exactly_one_on_the_picture_and_on_any_other_grid(height: int, width: int, count: int) -> None:
    parts = tiles(height, width, count)
    for grid in ((height, width), (8, 16), (23, 11), (height * 2 + 1, width * 2)):
        found = masks(parts, *grid)
        assert found.shape == (len(parts), *grid)
        assert found.dtype == torch.float32
        assert found.min() >= 0
        assert torch.equal(found.sum(0), torch.ones(grid))


@every_case
def test_a_mask_is_one_where_its_tile_is_alone_and_zero_outside_of_it(height: int, width: int, count: int) -> None:
    parts = tiles(height, width, count)
    alone = covered(parts, height, width) == 1
    for tile, mask in zip(parts, masks(parts, height, width), strict=True):
        inside = covered((tile,), height, width) == 1
        assert (mask[inside & alone] == 1).all()
        assert (mask[~inside] == 0).all()


def test_masks_change_linearly_across_an_overlap() -> None:
    left, right = masks(tiles(64, 96, 1), 64, 96)  # from 32 to 64
    assert torch.allclose(right[:, 32:64], ((torch.arange(32) + 0.5) / 32).expand(64, -1), atol=1e-3)
    assert torch.allclose(left, right.flip(1), atol=1e-3)


def test_masks_of_tiles_that_only_touch_have_a_sharp_edge() -> None:
    left, right = masks(tiles(4, 8, 1), 4, 8)
    assert torch.equal(left, (torch.arange(8) < 4).float().expand(4, -1))
    assert torch.equal(right, 1 - left)


def test_masks_of_a_smaller_grid_are_the_means_of_those_of_the_picture() -> None:
    parts = tiles(64, 160, 1)
    fine, coarse = masks(parts, 64, 160), masks(parts, 8, 20)
    assert torch.allclose(torch.nn.functional.avg_pool2d(fine, 8), coarse, atol=0.05)


@every_case
def test_tiles_are_cut_as_crops_those_of_a_picture_side_by_side(height: int, width: int, count: int) -> None:
    images = torch.rand(2, height, width, 3)
    parts = tiles(height, width, count)
    found = cut(images, parts)
    side = parts[0].box[2] - parts[0].box[0]
    assert found.shape == (2 * len(parts), side, side, 3)
    for number, crop in enumerate(found):
        image, tile = divmod(number, len(parts))
        left, top, right, bottom = parts[tile].box
        assert torch.equal(crop, images[image, top:bottom, left:right])


def test_a_single_tile_is_the_whole_picture_with_all_its_channels() -> None:
    images = torch.rand(3, 32, 32, 4)
    assert torch.equal(cut(images, tiles(32, 32, 1)), images)


def test_tiles_put_back_by_their_masks_give_the_picture() -> None:
    image = torch.rand(1, 48, 130, 3)
    parts = tiles(48, 130, 2)
    whole = torch.zeros(48, 130, 3)
    for crop, tile, mask in zip(cut(image, parts), parts, masks(parts, 48, 130), strict=True):
        left, top, right, bottom = tile.box
        whole[top:bottom, left:right] += mask[top:bottom, left:right, None] * crop
    assert torch.allclose(whole, image[0], atol=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "count", "sentence"),
    [
        (64, 96, 0, r"Set tiles to a number from 1 to 64; a picture of 96x64 cannot be cut into 0 along"),
        (64, 96, -1, "into -1 along"),
        (3, 96, 4, "Set tiles to a number from 1 to 3; .* into 4 along"),
        (0, 96, 1, "of 96x0 cannot be cut"),
        (64, 512, 4, rf"Set tiles to less than 4, .*; 512x64 .* makes 128 tiles, and at most {MOST} can be used"),
        (8, 8 * MOST + 1, 1, rf"makes {MOST + 1} tiles"),
    ],
)
def test_pictures_that_cannot_be_cut_so_are_refused(height: int, width: int, count: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        tiles(height, width, count)


def test_as_many_tiles_as_allowed_can_be_used() -> None:
    assert len(tiles(8, 8 * MOST, 1)) == MOST


@pytest.mark.parametrize("shape", [(1, 64, 97, 3), (1, 65, 96, 3), (1, 96, 64, 3)])
def test_tiles_of_a_picture_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"tiles are of a picture of 96x64, and this one has {shape[2]}x{shape[1]}"):
        cut(torch.rand(shape), tiles(64, 96, 1))
