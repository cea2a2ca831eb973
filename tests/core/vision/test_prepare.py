from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.vision.borders import Border
from comfyui_ip_adapter.ip_adapter_core.vision.boxes import POSITIONS, Box
from comfyui_ip_adapter.ip_adapter_core.vision.colours import BLACK
from comfyui_ip_adapter.ip_adapter_core.vision.cutout import Background
from comfyui_ip_adapter.ip_adapter_core.vision.prepare import (
    CROPS,
    MASK,
    PAD,
    POINT,
    RESAMPLINGS,
    Square,
    boxes,
    frame,
    sharpen,
    square,
)
from comfyui_ip_adapter.ip_adapter_core.vision.preprocess import CLIP_MEAN, fit

SIZES = [(60, 90), (91, 60), (60, 61), (300, 224), (224, 224), (1, 5), (517, 333)]
SIDES = ["top", "bottom", "left", "right", "center", "pad"]

each_size = pytest.mark.parametrize(("height", "width"), SIZES)
each_crop = pytest.mark.parametrize("crop", CROPS)


def photos(height: int, width: int, count: int = 1, channels: int = 3) -> Tensor:
    """Pictures in eight-bit levels."""
    generator = torch.Generator().manual_seed(height + width)
    return torch.randint(0, 256, (count, height, width, channels), generator=generator).float() / 255


def smooth(height: int, width: int) -> Tensor:
    """A picture with values between eight-bit levels, as a VAE decodes it."""
    return torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(height))


def numbered(height: int, width: int) -> Tensor:
    """A picture whose red says the column and whose green says the row."""
    red = torch.arange(width).expand(height, width)
    green = torch.arange(height)[:, None].expand(height, width)
    return torch.stack([red, green, torch.zeros(height, width)], dim=-1)[None].float() / 255


SPOTS = (Box(3, 4, 13, 12), Box(20, 0, 29, 30), Box(44, 25, 50, 30))
"""Parts of a picture of 50x30."""


def spot(height: int, width: int, place: Box) -> Tensor:
    """A mask (height, width) that is white in a place."""
    mask = torch.zeros(height, width)
    mask[place.top : place.bottom, place.left : place.right] = 1
    return mask


def corner(pictures: Tensor) -> tuple[int, int]:
    """Column and row of the original that a part of `numbered` begins with."""
    red, green, _ = (pictures[0, 0, 0] * 255).round().int().tolist()
    return red, green


# The formulas of IPAdapter Plus, pixel by pixel


def sharp_value(plane: np.ndarray, row: int, column: int, amount: float) -> float:
    """Contrast-adaptive sharpening of a pixel, beyond whose picture everything is black."""
    near = np.pad(plane, 1)[row : row + 3, column : column + 3]
    beside = [near[0, 1], near[1, 0], near[1, 2], near[2, 1]]
    cross, corners = [*beside, near[1, 1]], [near[0, 0], near[0, 2], near[2, 0], near[2, 2]]
    least, most = min(cross) + min(corners), max(cross) + max(corners)
    if most == 0:
        return 0.0
    weight = -((min(least, 2 - most) / most) ** 0.5) * (amount / 5 + (1 - amount) / 8)
    return float(np.clip((sum(beside) * weight + near[1, 1]) / (1 + 4 * weight), 0, 1))


def sharpened(picture: np.ndarray, amount: float) -> np.ndarray:
    found = np.zeros_like(picture, dtype=np.float64)
    for row, column, channel in np.ndindex(picture.shape):
        found[row, column, channel] = sharp_value(picture[..., channel].astype(np.float64), row, column, amount)
    return found


def bordered(picture: np.ndarray) -> np.ndarray:
    """The picture between two black bars of half the difference of its sides each."""
    height, width = picture.shape[:2]
    down, across = max(0, width - height) // 2, max(0, height - width) // 2
    return np.pad(picture, ((down, down), (across, across), (0, 0)))


def cut(picture: np.ndarray, position: str) -> np.ndarray:
    height, width = picture.shape[:2]
    side = min(height, width)
    top = {"top": 0, "bottom": height - side}.get(position, (height - side) // 2)
    left = {"left": 0, "right": width - side}.get(position, (width - side) // 2)
    return picture[top : top + side, left : left + side]


def old_square(image: Tensor, position: str, name: str, side: int) -> np.ndarray:
    """What the old pack makes of a picture before it sharpens."""
    levels = (image[0].numpy() * np.float32(255)).astype(np.uint8)
    part = bordered(levels) if position == "pad" else cut(levels, position)
    resized = Image.fromarray(part).resize((side, side), resample=Image.Resampling[name])
    return np.asarray(resized).astype(np.float32) / 255


@each_size
@pytest.mark.parametrize("position", SIDES)
@pytest.mark.parametrize("picture", [photos, smooth])
def test_old_squares_have_their_old_numbers(
    picture: Callable[[int, int], Tensor], height: int, width: int, position: str
) -> None:
    image = picture(height, width)
    found = square(image, Square(position, 224, border=Border(colour=BLACK), old_numbers=True))
    assert np.abs(found[0].numpy() - old_square(image, position, "LANCZOS", 224)).max() < 1e-5


@pytest.mark.parametrize("name", RESAMPLINGS)
def test_every_resampling_has_its_old_numbers_in_either_way(name: str) -> None:
    image = photos(60, 90)
    wanted = old_square(image, "left", name, 40)
    for old_numbers in (True, False):
        found = square(image, Square("left", 40, name, old_numbers=old_numbers))
        assert np.abs(found[0].numpy() - wanted).max() < 1e-5


@pytest.mark.parametrize("amount", [0.05, 0.5, 1.0])
def test_sharpening_follows_its_formula(amount: float) -> None:
    image = torch.cat([photos(12, 9), photos(9, 12).reshape(1, 12, 9, 3) ** 3])
    found = sharpen(image, amount)
    for number, picture in enumerate(image):
        assert np.abs(found[number].numpy() - sharpened(picture.numpy(), amount)).max() < 1e-5


@pytest.mark.parametrize("position", SIDES)
def test_cut_resized_and_sharpened_as_the_old_node_does_it(position: str) -> None:
    image = smooth(31, 45)
    how = Square(position, 24, border=Border(colour=BLACK), old_numbers=True)
    wanted = sharpened(old_square(image, position, "LANCZOS", 24), 0.3)
    assert np.abs(sharpen(square(image, how), 0.3)[0].numpy() - wanted).max() < 1e-5


def test_faces_with_their_white_border_as_the_old_node_does_it() -> None:
    image = photos(40, 30)
    found = frame(sharpen(square(image, Square("top", 20)), 0.5), 3)
    wanted = np.pad(
        sharpened(old_square(image, "top", "LANCZOS", 20), 0.5), ((3, 3), (3, 3), (0, 0)), constant_values=1
    )
    assert np.abs(found[0].numpy() - wanted).max() < 1e-5


# Where the square lies


@each_crop
@pytest.mark.parametrize("old_numbers", [False, True])
def test_a_square_picture_of_the_right_size_is_left_as_it_is(crop: str, old_numbers: bool) -> None:
    image = photos(56, 56)
    how = Square(crop, 56, point=(0.1, 0.9), old_numbers=old_numbers)
    assert torch.equal(square(image, how, torch.ones(1, 56, 56)), image)


@pytest.mark.parametrize(
    ("crop", "wide", "tall"),
    [
        ("center", (25, 0), (0, 25)),
        ("top", (25, 0), (0, 0)),
        ("bottom", (25, 0), (0, 50)),
        ("left", (0, 0), (0, 25)),
        ("right", (50, 0), (0, 25)),
    ],
)
def test_the_square_lies_at_the_position(crop: str, wide: tuple[int, int], tall: tuple[int, int]) -> None:
    assert corner(square(numbered(100, 150), Square(crop, 100))) == wide
    assert corner(square(numbered(150, 100), Square(crop, 100))) == tall


def test_every_position_is_tried_against_the_old_pack() -> None:
    assert set(CROPS) == {*SIDES, POINT, MASK}


@pytest.mark.parametrize(
    ("point", "begins"),
    [((0.5, 0.5), 25), ((0.0, 0.5), 0), ((1.0, 0.5), 50), ((0.4, 0.5), 10), ((0.4, 0.0), 10), ((0.1, 1.0), 0)],
)
def test_the_square_lies_around_the_point_as_far_as_the_picture_goes(point: tuple[float, float], begins: int) -> None:
    across = square(numbered(100, 150), Square(POINT, 100, point=point))
    assert corner(across) == (begins, 0)
    down = square(numbered(150, 100), Square(POINT, 100, point=point[::-1]))
    assert corner(down) == (0, begins)


@each_size
def test_the_middle_point_and_the_center_agree_within_a_pixel(height: int, width: int) -> None:
    side = min(height, width)
    found = [corner(square(numbered(height, width) % 1, Square(crop, side))) for crop in (POINT, "center")]
    assert all(abs(one - other) <= 1 for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("crop", POSITIONS)
def test_a_crop_reads_no_point_and_no_border(crop: str) -> None:
    image, other = photos(30, 50), Square(crop, 20, point=(0, 1), border=Border("mirrored", BLACK), margin=9)
    assert torch.equal(square(image, Square(crop, 20)), square(image, other))


@pytest.mark.parametrize("border", [CLIP_MEAN, BLACK])
def test_a_padded_picture_is_whole_between_its_borders(border: tuple[float, float, float]) -> None:
    image = photos(20, 50)
    found = square(image, Square(PAD, 50, border=Border(colour=border)))
    assert torch.equal(found[:, 15:35], image)
    colour = (torch.tensor(border) * 255).round() / 255
    assert (found[:, :15] == colour).all()
    assert (found[:, 35:] == colour).all()


def test_borders_have_the_colour_of_the_encoders_own_padding() -> None:
    image = photos(20, 50)
    assert torch.equal(square(image, Square(PAD, 50))[0, 0], fit(image, 50, "pad")[0, 0])


def test_an_odd_border_loses_no_pixel_but_with_old_numbers() -> None:
    image = photos(20, 51)
    assert torch.equal(square(image, Square(PAD, 51))[:, 15:35], image)
    assert not torch.equal(square(image, Square(PAD, 51, old_numbers=True))[:, 15:35], image)


# By a mask


@each_size
def test_a_mask_of_the_whole_picture_cuts_nothing_off(height: int, width: int) -> None:
    image, side = photos(height, width), max(height, width)
    for border in (Border(), Border("mirrored")):
        padded = square(image, Square(PAD, side, border=border))
        assert torch.equal(square(image, Square(MASK, side, border=border), torch.ones(1, height, width)), padded)
        assert torch.equal(square(image, Square(MASK, side, border=border, margin=50), torch.ones(1, 9, 9)), padded)


def test_the_square_around_a_mask_is_cut_and_each_picture_has_its_own() -> None:
    images = numbered(30, 50).repeat(3, 1, 1, 1)
    masks = torch.stack([spot(30, 50, place) for place in SPOTS])
    how = Square("mask", 10)
    assert boxes(images, how, masks) == [Box(3, 3, 13, 13), Box(9, 0, 39, 30), Box(44, 24, 50, 30)]
    first = square(images[:1], how, masks[:1])
    assert torch.equal(first, images[:1, 3:13, 3:13])


def test_a_mask_of_another_size_lies_over_the_whole_picture() -> None:
    image, small = photos(30, 50), spot(6, 10, Box(2, 1, 4, 3))
    large = small.repeat_interleave(5, 0).repeat_interleave(5, 1)
    assert boxes(image, Square(MASK), small) == boxes(image, Square(MASK), large)


def test_outside_of_a_mask_the_background_goes_and_the_subject_stays() -> None:
    image, mask = photos(30, 50), spot(30, 50, Box(10, 5, 40, 25))
    how = Square(PAD, 50, background=Background(BLACK, soft_edge=0), border=Border(colour=BLACK))
    found = square(image, how, mask)[0, 10:40]
    assert torch.equal(found[5:25, 10:40], image[0, 5:25, 10:40])
    assert not found[mask == 0].any()


@pytest.mark.parametrize("crop", CROPS)
def test_where_a_mask_is_white_everywhere_nothing_is_removed(crop: str) -> None:
    image, mask = photos(30, 50), torch.ones(1, 30, 50)
    how = Square(crop, 20)
    assert torch.equal(square(image, how._replace(background=Background()), mask), square(image, how, mask))


@pytest.mark.parametrize("crop", [*POSITIONS, PAD, POINT])
def test_without_a_use_for_it_a_mask_is_not_read(crop: str) -> None:
    image = photos(30, 50)
    assert torch.equal(square(image, Square(crop, 20), torch.zeros(7, 2, 2)), square(image, Square(crop, 20)))


@pytest.mark.parametrize("how", [Square(MASK), Square(background=Background())])
def test_a_mask_that_is_missing_or_does_not_fit_is_told(how: Square) -> None:
    images = photos(8, 9, count=2)
    with pytest.raises(ValueError, match=r"^Connect a mask .* found no mask"):
        square(images, how)
    with pytest.raises(ValueError, match=r"^Connect one mask for all pictures, or one for each; pictures: 2, masks: 3"):
        square(images, how, torch.eye(8).repeat(3, 1, 1))
    half = torch.stack([torch.eye(8), torch.zeros(8, 8)])
    with pytest.raises(ValueError, match=r"^Make white in the mask .* picture 2 of 2; it is black everywhere"):
        square(images, how, half)


@pytest.mark.parametrize(("crop", "cut_off"), [("center", 59), ("left", 59), ("right", 0), (POINT, 0)])
def test_a_subject_that_is_cut_off_is_told_where_all_else_is_removed(crop: str, cut_off: int) -> None:
    images, how = photos(20, 60, count=2), Square(crop, 20, point=(0.9, 0.5), background=Background())
    masks = torch.stack([torch.ones(20, 60), spot(20, 60, Box(cut_off, 0, cut_off + 1, 20))])
    with pytest.raises(ValueError, match=rf'^Choose the crop mask.*"{crop}".* of picture 2 of 2'):
        square(images, how, masks)
    assert square(images, how._replace(crop=PAD), masks).shape == (2, 20, 20, 3)
    assert square(images, how._replace(background=None), masks).shape == (2, 20, 20, 3)


def test_a_soft_edge_is_a_share_of_the_square_whatever_the_picture() -> None:
    white, spots = torch.ones(1, 40, 200, 3), spot(40, 200, Box(60, 0, 200, 40))
    row = square(white, Square(PAD, 200, background=Background(BLACK, 5), border=Border(colour=BLACK)), spots)
    faded = row[0, 100, :, 0]
    assert int(((faded > 0) & (faded < 1)).sum()) == 10


# Pictures and values of all sorts


@each_crop
def test_each_picture_of_a_batch_is_prepared_by_itself(crop: str) -> None:
    images, how = photos(30, 50, count=3), Square(crop, 20)
    masks = torch.stack([spot(30, 50, place) for place in SPOTS])
    alone = [sharpen(square(image[None], how, mask), 0.5) for image, mask in zip(images, masks, strict=True)]
    assert torch.equal(sharpen(square(images, how, masks), 0.5), torch.cat(alone))


def test_alpha_is_left_out_and_grey_becomes_rgb() -> None:
    image = photos(30, 50)
    alpha = torch.cat([image, torch.zeros(1, 30, 50, 1)], dim=-1)
    assert torch.equal(square(alpha), square(image))
    assert torch.equal(square(image[..., :1]), square(image[..., :1].repeat(1, 1, 1, 3)))


def test_values_between_levels_are_rounded_but_with_old_numbers() -> None:
    image = torch.full((1, 8, 8, 3), 100.7 / 255)
    assert torch.equal(square(image, Square(size=8)), torch.full((1, 8, 8, 3), 101 / 255))
    assert torch.equal(square(image, Square(size=8, old_numbers=True)), torch.full((1, 8, 8, 3), 100 / 255))


def test_half_precision_and_values_outside_are_taken() -> None:
    image = torch.full((1, 4, 6, 3), 1.5, dtype=torch.float16)
    for old_numbers in (False, True):
        assert torch.equal(square(image, Square(size=4, old_numbers=old_numbers)), torch.ones(1, 4, 4, 3))


def test_no_sharpening_changes_nothing() -> None:
    image = smooth(20, 30)
    assert torch.equal(sharpen(image, 0.0), image)


def test_a_plain_picture_stays_plain_within_its_edges() -> None:
    for level in (0.0, 0.3, 1.0):
        found = sharpen(torch.full((1, 9, 9, 3), level), 1.0)
        assert torch.allclose(found[:, 1:-1, 1:-1], torch.tensor(level), atol=1e-6)


def test_more_sharpening_makes_edges_steeper() -> None:
    edge = torch.cat([torch.full((1, 9, 5, 3), 0.4), torch.full((1, 9, 5, 3), 0.6)], dim=2)
    steps = [float((found[0, 4, 5] - found[0, 4, 4]).mean()) for found in (sharpen(edge, a) for a in (0, 0.5, 1))]
    assert steps == sorted(steps)
    assert steps[0] < steps[1] < steps[2]


def test_the_given_pictures_stay_as_they_are() -> None:
    image = photos(20, 20)
    for old_numbers in (False, True):
        square(image, Square(size=20, old_numbers=old_numbers)).add_(1)
    sharpen(image, 0.5).add_(1)
    frame(image, 2).add_(1)
    assert torch.equal(image, photos(20, 20))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (Square("middle"), "Set crop to one of center, top, bottom.*found 'middle'"),
        (Square(resampling="area"), "Set resampling to one of LANCZOS.*found 'area'"),
        (Square(size=0), "Set the size to 1 pixel or more, and 8192 at most; found 0"),
        (Square(size=100_000), "Set the size .* found 100000"),
        (Square(background=Background(soft_edge=-5)), "Set soft_edge to 0 to 100 percent; found -5"),
        (Square(background=Background(soft_edge=400)), "Set soft_edge to 0 to 100 percent; found 400"),
        (Square(POINT, point=(0.5, 1.5)), "Set the point to shares of the picture, 0..1; found 0.5, 1.5"),
        (Square(POINT, point=(float("nan"), 0)), "Set the point .* found nan, 0"),
        (Square(MASK, margin=-1), "Set the margin to 0 percent or more; found -1"),
    ],
)
def test_what_cannot_be_done_is_told(how: Square, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        square(photos(8, 9), how)


@pytest.mark.parametrize("old_numbers", [False, True])
def test_pictures_without_pixels_or_numbers_are_told(old_numbers: bool) -> None:
    how = Square(old_numbers=old_numbers)
    with pytest.raises(ValueError, match=r"image 2 of 2, .* contains NaN"):
        square(torch.cat([photos(4, 4), torch.full((1, 4, 4, 3), float("nan"))]), how)
    with pytest.raises(ValueError, match="holds no pixels"):
        square(torch.zeros(0, 4, 4, 3), how)
