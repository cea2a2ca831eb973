"""Masks land where they were painted, in the grid of every layer, whatever the size of picture and mask."""

import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

from comfyui_ip_adapter.ip_adapter_core.settings.masks import (
    Grid,
    crop,
    for_layer,
    product,
    product_at_points,
    pyramid,
    to_grid,
    usable,
)

SIDES = range(64, 1025, 8)  # of pictures, in pixels
LEVELS = 4  # of the largest UNets

RATIOS = {"1:1": 1.0, "4:3": 4 / 3, "2:3": 2 / 3, "16:9": 16 / 9, "1:4": 1 / 4}
each_ratio = pytest.mark.parametrize("ratio", RATIOS.values(), ids=RATIOS)

Box = tuple[int, int, int, int]
"""Top, left, bottom and right of a painted rectangle; the last two are excluded."""


def pictures(ratio: float) -> Iterator[Grid]:
    """Height and width in pixels of pictures with every height there is and about this ratio of width to height."""
    for height in SIDES:
        width = round(height * ratio / 8) * 8
        if width in SIDES:
            yield height, width


def some_box(picture: Grid, draw: random.Random) -> Box:
    """A rectangle that is at least a quarter of the picture high and wide."""
    (top, bottom), (left, right) = (_stretch(length, draw) for length in picture)
    return top, left, bottom, right


def _stretch(length: int, draw: random.Random) -> tuple[int, int]:
    size = draw.randint(length // 4, length)
    start = draw.randint(0, length - size)
    return start, start + size


def painted(picture: Grid, box: Box) -> Tensor:
    """A mask of the picture's size that is white in the rectangle, (1, height, width)."""
    mask = torch.zeros(1, *picture)
    top, left, bottom, right = box
    mask[:, top:bottom, left:right] = 1
    return mask


def latent(picture: Grid) -> Grid:
    return picture[0] // 8, picture[1] // 8


def levels(mask: Tensor, picture: Grid) -> dict[Grid, Tensor]:
    """The mask in the grid of each layer, (rows, columns) of it, as a run makes it."""
    found = pyramid(product([mask], 1, latent(picture)))
    return {grid: found[grid].reshape(grid) for grid in list(found)[:LEVELS]}


def cells(length: int, count: int, start: int, end: int) -> tuple[slice, slice]:
    """Of so many cells along a length: those wholly inside a stretch and a cell away from its ends, and those that are
    not wholly outside and a cell away from it. Ends of the picture are no edges."""
    size = length / count
    first = 0 if start == 0 else next((n for n in range(count) if n * size >= start + size), count)
    last = count if end == length else next((n for n in range(count) if (n + 1) * size > end - size), count)
    near = max(0, int(start / size) - 1), min(count, -int(-end // size) + 1)
    return slice(first, max(first, last)), slice(*near)


# Where a rectangle lands


@each_ratio
def test_a_rectangle_lands_where_it_was_painted_to_a_cell(ratio: float) -> None:
    draw = random.Random(0)
    for picture in pictures(ratio):
        box = some_box(picture, draw)
        for grid, found in levels(painted(picture, box), picture).items():
            inside, near = zip(*(cells(picture[n], grid[n], box[n], box[n + 2]) for n in (0, 1)), strict=True)
            assert (found[inside] == 1).all(), (picture, box, grid)
            rest = found.clone()
            rest[near] = 0
            assert not rest.any(), (picture, box, grid)


@each_ratio
@pytest.mark.parametrize("axis", [0, 1])
def test_a_band_keeps_its_place_and_its_width_without_a_shift(ratio: float, axis: int) -> None:
    """The middle of its white to half a cell, and how much there is of it to a cell."""
    draw = random.Random(1)
    for picture in pictures(ratio):
        box = list(some_box(picture, draw))
        box[1 - axis], box[3 - axis] = 0, picture[1 - axis]
        start, end = box[axis], box[axis + 2]
        for grid, found in levels(painted(picture, (box[0], box[1], box[2], box[3])), picture).items():
            line, cell = found.mean(1 - axis), picture[axis] / grid[axis]
            centres = (torch.arange(grid[axis]) + 0.5) * cell
            white = line.sum()
            assert abs(float((line * centres).sum() / white) - (start + end) / 2) <= cell / 2, (picture, start, end)
            assert abs(float(white * cell) - (end - start)) <= cell, (picture, start, end)


@each_ratio
@pytest.mark.parametrize("axis", [1, 2])
def test_a_flipped_mask_gives_the_flipped_grid(ratio: float, axis: int) -> None:
    draw = random.Random(2)
    for picture in pictures(ratio):
        mask = painted(picture, some_box(picture, draw))
        there, back = levels(mask, picture), levels(mask.flip(axis), picture)
        for grid in there:
            torch.testing.assert_close(back[grid].flip(axis - 1), there[grid], atol=1e-6, rtol=0)


@each_ratio
def test_at_the_latents_grid_a_cell_is_the_mean_of_its_64_pixels(ratio: float) -> None:
    draw = random.Random(3)
    for picture in list(pictures(ratio))[::8]:
        mask = painted(picture, some_box(picture, draw))
        rows, columns = latent(picture)
        expected = mask.reshape(rows, 8, columns, 8).mean((1, 3))
        torch.testing.assert_close(levels(mask, picture)[rows, columns], expected, atol=1e-6, rtol=0)


def test_a_mask_of_another_size_is_stretched_over_the_picture() -> None:
    for size in ((512, 512), (37, 91), (100, 3), (2, 2)):
        mask = torch.zeros(1, *size)
        mask[:, : size[0] // 2] = 1  # the upper half, or less by half a row
        found = product([mask], 1, (24, 40))[0]
        edge = (size[0] // 2) / size[0] * 24
        assert (found[: int(edge - 1)] == 1).all(), size
        assert not found[int(edge) + 2 :].any(), size
        assert (found == found[:, :1]).all(), size


# Masks of any size


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 3), (24, 40), (23, 41), (512, 512), (1024, 8)])
def test_grids_of_masks_of_any_size_stay_between_their_values(size: Grid) -> None:
    mask = torch.rand(2, *size, generator=torch.Generator().manual_seed(0))
    found = product([mask], 2, (24, 40))
    assert found.shape == (2, 24, 40)
    for frame in (0, 1):
        assert found[frame].min() >= mask[frame].min() - 1e-6
        assert found[frame].max() <= mask[frame].max() + 1e-6


def test_a_mask_of_one_pixel_is_that_value_everywhere() -> None:
    assert (product([torch.full((1, 1, 1), 0.25)], 1, (9, 13)) == 0.25).all()


def test_a_mask_that_has_the_size_of_the_grid_is_taken_as_it_is() -> None:
    mask = torch.rand(3, 9, 13)
    assert torch.equal(to_grid(mask, (9, 13)), mask)


def test_a_cell_is_the_mean_of_the_pixels_that_it_touches() -> None:
    row = torch.tensor([[[0.0, 1.0, 0.0, 0.0, 1.0]]])
    torch.testing.assert_close(to_grid(row, (1, 2)), torch.tensor([[[1 / 3, 1 / 3]]]))
    torch.testing.assert_close(to_grid(row, (1, 10)), row.repeat_interleave(2, -1))


# What can be used


@pytest.mark.parametrize("shape", [(6, 4), (1, 6, 4), (3, 6, 4), (3, 1, 6, 4)])
def test_a_white_mask_is_no_mask(shape: tuple[int, ...]) -> None:
    assert usable(torch.ones(shape)) is None
    assert usable(torch.full(shape, 1.5)) is None


@pytest.mark.parametrize("shape", [(6, 4), (1, 6, 4), (3, 6, 4), (3, 1, 6, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8, torch.bool])
def test_a_mask_comes_as_frames_of_numbers_from_0_to_1(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    given = torch.zeros(shape)
    given[..., 2:] = 1
    found = usable(given.to(dtype))
    assert found is not None
    assert (found.shape, found.dtype) == ((3 if shape[0] == 3 else 1, 6, 4), torch.float32)
    assert torch.equal(found[0], given.reshape(-1, 6, 4)[0])


def test_values_beyond_black_and_white_are_these() -> None:
    found = usable(torch.tensor([[-0.5, 0.25, 1.5]]))
    assert found is not None
    assert found.tolist() == [[[0.0, 0.25, 1.0]]]


def test_one_pixel_that_is_not_white_makes_a_mask_and_a_black_one_stays_black() -> None:
    nearly = torch.ones(2, 6, 4)
    nearly[1, 0, 0] = 0.999
    found, black = usable(nearly), usable(torch.zeros(1, 6, 4))
    assert found is not None
    assert torch.equal(found, nearly)
    assert black is not None
    assert not black.any()


def test_a_mask_is_not_changed_by_its_use() -> None:
    given = torch.tensor([[-0.5, 0.25, 1.5]])
    usable(given)
    assert given.tolist() == [[-0.5, 0.25, 1.5]]


@pytest.mark.parametrize("shape", [(4,), (2, 3, 6, 4), (1, 1, 1, 6, 4), (0, 6, 4), (1, 0, 4), (1, 6, 0)])
def test_other_shapes_are_refused_with_their_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"found {'x'.join(map(str, shape))}"):
        usable(torch.zeros(shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    mask = torch.zeros(1, 6, 4)
    mask[0, 3, 2] = value
    with pytest.raises(ValueError, match="values that are no numbers"):
        usable(mask)


# Several masks and frames


def test_masks_of_different_sizes_are_multiplied_over_the_picture() -> None:
    left, top = torch.zeros(1, 64, 64), torch.zeros(1, 10, 6)
    left[..., :32], top[:, :5] = 1, 1
    found = product([left, top], 1, (8, 16))
    expected = torch.zeros(1, 8, 16)
    expected[:, :4, :8] = 1
    assert torch.equal(found, expected)
    assert torch.equal(product([top, left], 1, (8, 16)), expected)


def test_no_masks_leave_everything() -> None:
    assert torch.equal(product([], 3, (8, 16)), torch.ones(1, 8, 16))


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels)[:, None, None]


def seen(found: Tensor) -> list[float]:
    return found[:, 0, 0].tolist()


def test_a_mask_for_each_frame_and_one_for_all_are_multiplied_frame_by_frame() -> None:
    each, one = grey(0.25, 0.5, 1.0), grey(0.5)
    assert seen(product([each, one], 3, (2, 2))) == [0.125, 0.25, 0.5]


def test_the_last_mask_holds_for_further_frames_and_masks_beyond_the_last_frame_are_left() -> None:
    assert seen(product([grey(0.25, 0.5)], 4, (2, 2))) == [0.25, 0.5, 0.5, 0.5]
    assert seen(product([grey(0.25, 0.5, 1.0)], 2, (2, 2))) == [0.25, 0.5]
    assert seen(product([grey(0.25, 0.5, 1.0)], 1, (2, 2))) == [0.25]
    assert seen(product([grey(0.25, 0.5), grey(0.5, 0.5, 1.0)], 4, (2, 2))) == [0.125, 0.25, 0.5, 0.5]


def test_one_mask_for_all_frames_stays_one() -> None:
    assert product([grey(0.5), grey(0.25)], 100, (2, 2)).shape == (1, 2, 2)


# Parts of a picture


def test_a_crop_is_the_part_at_its_corner() -> None:
    mask = torch.rand(2, 9, 13)
    assert torch.equal(crop(mask, (2, 3), (4, 5)), mask[:, 2:6, 3:8])
    assert torch.equal(crop(mask, (0, 0), (9, 13)), mask)


def test_a_crop_goes_on_at_the_other_edge() -> None:
    mask = torch.rand(2, 9, 13)
    for corner in ((7, 0), (0, 11), (8, 12), (9, 13)):
        rolled = mask.roll((-corner[0], -corner[1]), (1, 2))
        assert torch.equal(crop(mask, corner, (4, 5)), rolled[:, :4, :5])


# The grids of layers


@pytest.mark.parametrize("grid", [(64, 64), (13, 7), (9, 11), (37, 1), (128, 127), (1, 1), (2, 3)])
def test_the_grids_are_those_that_convolutions_of_stride_two_leave(grid: Grid) -> None:
    found = list(pyramid(torch.rand(1, *grid)))
    x, expected = torch.zeros(1, 1, *grid), [grid]
    for _ in range(LEVELS):
        x = conv2d(x, torch.zeros(1, 1, 3, 3), stride=2, padding=1)  # ComfyUI's and diffusers' Downsample
        expected.append((x.shape[-2], x.shape[-1]))
    assert found[: len(dict.fromkeys(expected))] == list(dict.fromkeys(expected))


def test_the_grids_of_the_largest_unets_are_there() -> None:
    assert len(pyramid(torch.rand(1, 128, 96))) >= LEVELS


@pytest.mark.parametrize("grid", [(8, 8), (13, 7)])
def test_every_level_holds_a_number_for_each_pixel_row_by_row(grid: Grid) -> None:
    masks = torch.rand(3, *grid)
    for (rows, columns), found in pyramid(masks).items():
        assert found.shape == (3, rows * columns, 1)
        torch.testing.assert_close(found.reshape(3, rows, columns), to_grid(masks, (rows, columns)))
    assert torch.equal(for_layer(masks, grid)[:, :, 0], masks.reshape(3, -1))


@pytest.mark.parametrize("grid", [(8, 8), (13, 7), (37, 91)])
def test_white_stays_white_and_black_black_at_every_level(grid: Grid) -> None:
    assert all((level == 1).all() for level in pyramid(torch.ones(1, *grid)).values())
    assert not any(level.any() for level in pyramid(torch.zeros(1, *grid)).values())


# As IPAdapter Plus reads them


def test_at_points_a_mask_is_read_between_four_of_its_pixels() -> None:
    mask = torch.rand(1, 101, 77, generator=torch.Generator().manual_seed(0))
    for grid in ((8, 12), (4, 6), (2, 3)):
        expected = interpolate(mask[:, None], grid, mode="bilinear").flatten(1)[..., None]
        torch.testing.assert_close(product_at_points([mask], 1, grid, (8, 12)), expected)
        assert (expected - for_layer(mask, grid)).abs().max() > 0.1


def test_at_points_the_rows_are_told_from_the_number_of_pixels() -> None:
    """In a picture of 9 x 11 a layer of 5 x 6 counts as that, but one of 2 x 2 as one row of 4, as there."""
    mask = torch.rand(1, 40, 60, generator=torch.Generator().manual_seed(0))
    for layer, whole, read in (((5, 6), (9, 11), (5, 6)), ((3, 33), (5, 65), (3, 33)), ((2, 2), (9, 11), (1, 4))):
        expected = interpolate(mask[:, None], read, mode="bilinear").flatten(1)[..., None]
        torch.testing.assert_close(product_at_points([mask], 1, layer, whole), expected)


@pytest.mark.parametrize("pixels", [7, 11, 23, 97, 131])
def test_at_points_a_layer_has_as_many_pixels_as_it_has(pixels: int) -> None:
    found = product_at_points([torch.ones(1, 4, 4)], 1, (1, pixels), (9, 15))
    assert found.shape == (1, pixels, 1)
    assert set(found.round(decimals=5).flatten().tolist()) <= {0.0, 1.0}


def test_at_points_masks_of_frames_and_several_masks_count_as_over_cells() -> None:
    random = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 8, 12, generator=random), torch.rand(1, 8, 12, generator=random)
    found = product_at_points([first, second], 3, (8, 12), (8, 12))
    torch.testing.assert_close(found, product([first, second], 3, (8, 12)).flatten(1)[..., None])


def test_values_may_stay_beyond_black_and_white() -> None:
    given = torch.tensor([[-0.5, 0.25, 1.5]])
    assert torch.equal(usable(given, beyond=True), given[None])
