"""Nothing outside of a mask reaches the encoder or the adapter, and what is inside stays as it was."""

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.vision.preprocess import FITS, fit
from comfyui_ip_adapter.ip_adapter_core.vision.reference_mask import is_partly_read, reference
from comfyui_ip_adapter.ip_adapter_core.vision.tiles import tiles

SIZE, GRID = 28, 4  # an encoder with patches of 7 x 7 pixels
TOKENS = 1 + GRID**2


def pictures(count: int = 1, height: int = 60, width: int = 84, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(count, height, width, channels, generator=torch.Generator().manual_seed(seed))


def rectangle(height: int, width: int, top: int, bottom: int, left: int, right: int) -> Tensor:
    """A mask (1, height, width) that is white in a rectangle."""
    mask = torch.zeros(1, height, width)
    mask[:, top:bottom, left:right] = 1
    return mask


MIDDLE = rectangle(60, 84, 17, 43, 30, 57)


@pytest.mark.parametrize("how", FITS)
def test_pixels_outside_change_nothing_that_the_encoder_sees_bit_for_bit(how: str) -> None:
    image = pictures()
    other = torch.where(MIDDLE[..., None] > 0, image, pictures(seed=1))
    one, two = (reference(given, MIDDLE).images for given in (image, other))
    assert torch.equal(fit(one, SIZE, how), fit(two, SIZE, how))
    assert not torch.equal(fit(image, SIZE, how), fit(other, SIZE, how))


def test_the_surroundings_are_neutral_the_inside_stays_and_between_them_is_a_soft_edge() -> None:
    image = torch.ones(1, 112, 112, 3)
    found = reference(image, rectangle(112, 112, 28, 84, 28, 84), neutral=(0.5, 0.25, 0.75)).images[0]
    assert torch.equal(found[:28], torch.tensor([0.5, 0.25, 0.75]).expand(28, 112, 3))
    assert torch.equal(found[30:82, 30:82], torch.ones(52, 52, 3))
    edge = found[56, 28:31, 0]
    assert 0.5 < edge[0] < edge[1] < edge[2] == 1


def test_a_full_mask_leaves_the_pictures_alone() -> None:
    image = pictures(2)
    for mask in (torch.ones(1, 60, 84), torch.ones(2, 5, 5), None):
        found = reference(image, mask)
        assert found.images is image
        assert found.mask is None
        assert found.kept(SIZE, "pad", TOKENS) is None
        assert not is_partly_read(image, mask)
    assert is_partly_read(image, MIDDLE)


@pytest.mark.parametrize("grid", [(2, 2), (4, 4), (120, 30)])
def test_a_mask_of_another_size_is_stretched_over_the_picture(grid: tuple[int, int]) -> None:
    mask = rectangle(*grid, 0, grid[0] // 2, 0, grid[1])
    found = reference(pictures(), mask).mask
    assert found is not None
    assert found.shape == (1, 60, 84)
    assert (found[:, :15] == 1).all()
    assert (found[:, 45:] == 0).all()


def test_one_mask_is_for_all_pictures_and_several_are_one_for_each() -> None:
    left, right = rectangle(60, 84, 0, 60, 0, 42), rectangle(60, 84, 0, 60, 42, 84)
    shared, own = (reference(pictures(2), mask).mask for mask in (left, torch.cat([left, right])))
    assert shared is not None
    assert own is not None
    assert torch.equal(shared, torch.cat([left, left]))
    assert torch.equal(own, torch.cat([left, right]))
    with pytest.raises(ValueError, match=r"^Connect one reference_mask for all pictures.* pictures: 3, masks: 2"):
        reference(pictures(3), torch.cat([left, right]))


def test_alpha_is_a_mask_only_where_it_is_wanted_and_there() -> None:
    image = torch.cat([pictures(), MIDDLE[..., None]], dim=-1)
    by_alpha, by_mask = reference(image, alpha=True), reference(image[..., :3], MIDDLE)
    assert torch.equal(by_alpha.images, by_mask.images)
    assert reference(image).images is image
    assert reference(image[..., :3], alpha=True).mask is None
    both = reference(image, rectangle(60, 84, 0, 30, 0, 84), alpha=True).mask
    assert both is not None
    assert torch.equal(both, rectangle(60, 84, 17, 30, 30, 57))


def test_grey_pictures_can_be_read_in_part() -> None:
    grey = pictures(channels=1)
    assert torch.equal(reference(grey, MIDDLE).images, reference(grey.expand(-1, -1, -1, 3), MIDDLE).images)


def test_nothing_to_read_is_refused_with_the_number_of_the_picture() -> None:
    masks = torch.cat([MIDDLE, torch.zeros(1, 60, 84)])
    with pytest.raises(ValueError, match=r"^Make white in reference_mask.*nothing is left of picture 2 of 2"):
        reference(pictures(2), masks)
    with pytest.raises(ValueError, match=r"switch alpha off; nothing is left of picture 1 of 1"):
        reference(torch.zeros(1, 4, 4, 4), alpha=True)
    with pytest.raises(ValueError, match=r"^Connect a mask of shape"):
        reference(pictures(), torch.ones(1, 2, 3, 4))


def test_a_part_that_the_crop_cuts_away_is_refused() -> None:
    found = reference(pictures(), rectangle(60, 84, 0, 60, 0, 8))
    with pytest.raises(ValueError, match=r'^Crop the picture.*nothing in picture 1 of 1, with fit "center crop"'):
        found.check_seen(SIZE, "center crop")
    for how in ("pad", "squash"):
        found.check_seen(SIZE, how)


def grid_of(kept: Tensor | None) -> list[str]:
    """The patches of the first picture, a row each; x where they are read."""
    assert kept is not None
    return ["".join("x" if it else "." for it in row) for row in kept[0, 1:].reshape(GRID, GRID)]


@pytest.mark.parametrize(
    ("how", "rows"),
    [
        ("center crop", ["x...", "x...", "x...", "x..."]),
        ("squash", ["xx..", "xx..", "xx..", "xx.."]),
        ("pad", ["....", "xx..", "xx..", "...."]),
    ],
)
def test_patches_are_read_where_the_fitted_mask_lies(how: str, rows: list[str]) -> None:
    found = reference(pictures(height=56, width=112), rectangle(56, 112, 0, 56, 0, 42))
    kept = found.kept(SIZE, how, TOKENS)
    assert grid_of(kept) == rows
    assert kept is not None
    assert not kept[0, 0], "the class token has seen the whole square"


def test_a_patch_is_read_where_the_mask_is_half_as_white_as_at_its_whitest() -> None:
    mask = torch.zeros(1, 28, 28)
    mask[:, :7], mask[:, 7:14], mask[:, 14:21] = 0.6, 0.32, 0.28
    kept = reference(pictures(height=28, width=28), mask).kept(SIZE, "squash", TOKENS)
    assert grid_of(kept) == ["xxxx", "xxxx", "....", "...."]


@pytest.mark.parametrize("tokens", [16, 17, 20])
def test_the_tokens_before_the_patches_are_read_only_with_the_whole_picture(tokens: int) -> None:
    masks = torch.cat([torch.ones(1, 28, 28), rectangle(28, 28, 0, 7, 0, 7)])
    kept = reference(pictures(2, 28, 28), masks).kept(SIZE, "pad", tokens)
    assert kept is not None
    assert kept.shape == (2, tokens)
    assert kept[0].all()
    assert not kept[1, : tokens - 16].any()
    assert kept[1].sum() == 1


def test_all_is_read_of_a_crop_whose_mask_is_white_within() -> None:
    found = reference(pictures(height=56, width=112), rectangle(56, 112, 0, 56, 14, 98))
    assert found.kept(SIZE, "center crop", TOKENS) is None
    assert found.kept(SIZE, "squash", TOKENS) is not None


def test_the_borders_of_a_padded_picture_are_read_only_when_all_of_it_is() -> None:
    masks = torch.cat([torch.ones(1, 56, 112), rectangle(56, 112, 0, 56, 0, 111)])
    kept = reference(pictures(2, 56, 112), masks).kept(SIZE, "pad", TOKENS)
    assert kept is not None
    assert kept[0].all()
    assert grid_of(kept[1:]) == ["....", "xxxx", "xxxx", "...."]


def test_tiles_take_their_part_of_the_mask_and_those_without_any_are_told() -> None:
    found = reference(pictures(2, 56, 112), rectangle(56, 112, 0, 28, 0, 28))
    cut = found.cut(tiles(56, 112, 2))
    assert len(cut.images) == 16
    assert cut.gaps(SIZE, "center crop") == [number for number in range(16) if number % 8]
    kept = cut.kept(SIZE, "center crop", TOKENS)
    assert kept is not None
    assert kept[0].all()
    cut.check_seen(SIZE, "center crop", tiles=8)
    with pytest.raises(ValueError, match="picture 2 of 16"):
        cut.check_seen(SIZE, "center crop")


def test_nothing_given_is_changed() -> None:
    image, mask = pictures(), MIDDLE.clone()
    before = image.clone()
    reference(image, mask)
    assert torch.equal(image, before)
    assert torch.equal(mask, MIDDLE)
