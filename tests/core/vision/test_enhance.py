"""A picture encoded in parts: where each lies, what becomes of its features, and how they join those of the whole."""

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.vision.enhance import (
    cut_parts,
    join_embeds,
    join_embeds_as_grid,
    join_hidden,
    mix,
)
from drawn import draw

SIDES = [2, 3, 16]


@pytest.mark.parametrize("side", SIDES)
def test_parts_lie_row_by_row_and_those_of_a_picture_are_neighbours(side: int) -> None:
    pictures = draw(2, 3 * side + 1, 4 * side + side // 2, 3)
    parts = cut_parts(pictures, side)
    assert parts.shape == (2 * side * side, 3, 4, 3)
    for number, part in enumerate(parts):
        picture, place = divmod(number, side * side)
        row, column = divmod(place, side)
        assert torch.equal(part, pictures[picture, 3 * row : 3 * row + 3, 4 * column : 4 * column + 4])


@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_patch_is_the_mean_of_those_that_it_covers_on_the_large_grid(side: int) -> None:
    grid, width = 4, 5
    parts = draw(2 * side * side, 1 + grid * grid, width)
    found = join_hidden(parts, side)
    assert found.shape == (2, 1 + grid * grid, width)
    for picture in range(2):
        own = parts[picture * side * side :][: side * side]
        assert torch.allclose(found[picture, 0], own[:, 0].mean(0), atol=1e-6)
        large = torch.empty(grid * side, grid * side, width)
        for place, part in enumerate(own[:, 1:]):
            row, column = divmod(place, side)
            large[row * grid :, column * grid :][:grid, :grid] = part.reshape(grid, grid, width)
        for patch in range(grid * grid):
            row, column = divmod(patch, grid)
            covered = large[row * side :, column * side :][:side, :side].reshape(-1, width)
            assert torch.allclose(found[picture, 1 + patch], covered.mean(0), atol=1e-6)


def test_embeds_of_parts_are_averaged_for_each_picture() -> None:
    parts = draw(2 * 9, 7)
    assert torch.allclose(join_embeds(parts, 3), torch.stack([parts[:9].mean(0), parts[9:].mean(0)]), atol=1e-6)


def test_the_old_numbers_take_an_embedding_for_a_square_picture() -> None:
    parts = draw(2 * 4, 16)
    found = join_embeds_as_grid(parts, 2)
    upper = torch.cat([parts[4].reshape(4, 4), parts[5].reshape(4, 4)], dim=1)
    assert found.shape == (2, 16)
    assert torch.allclose(found[1, :4], torch.stack([upper[:2, 2 * x : 2 * x + 2].mean() for x in range(4)]), atol=1e-6)


def test_an_embedding_that_is_no_square_is_averaged_in_both_ways() -> None:
    parts = draw(4, 1280)
    assert torch.equal(join_embeds_as_grid(parts, 2), join_embeds(parts, 2))


@pytest.mark.parametrize("shape", [(7,), (5, 7)], ids=["embeds", "hidden"])
@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_several_pictures_are_mixed_and_one_stands_beside_its_parts(ratio: float, shape: tuple[int, ...]) -> None:
    whole, parts = draw(3, *shape), draw(3, *shape, seed=1)
    assert torch.allclose(mix(whole, parts, ratio), ratio * whole + (1 - ratio) * parts)
    beside = mix(whole[:1], parts[:1], ratio)
    assert torch.equal(beside, torch.stack([whole[0] * ratio, parts[0]]))
