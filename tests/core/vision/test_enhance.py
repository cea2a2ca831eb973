"""Pictures encoded in parts: what is cut comes together again in its place."""

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


def test_one_part_is_the_whole_picture() -> None:
    images = draw(2, 6, 8, 3)
    assert torch.equal(cut_parts(images, 1), images)


def test_parts_come_row_by_row_picture_by_picture() -> None:
    images = draw(2, 4, 6, 3)
    parts = cut_parts(images, 2)
    assert torch.equal(parts[1], images[0, :2, 3:])
    assert torch.equal(parts[2], images[0, 2:, :3])
    assert torch.equal(parts[7], images[1, 2:, 3:])


def test_each_quarter_of_the_grid_is_the_average_of_its_part() -> None:
    parts = draw(8, 1 + 16, 3)
    joined = join_hidden(parts, 2)
    assert joined.shape == (2, 17, 3)
    grid = joined[:, 1:].reshape(2, 4, 4, 3)
    fine = parts[:, 1:].reshape(2, 2, 2, 4, 4, 3)
    for row, column in ((0, 0), (1, 3), (3, 2)):
        part, (y, x) = fine[:, row // 2, column // 2], (2 * (row % 2), 2 * (column % 2))
        torch.testing.assert_close(grid[:, row, column], part[:, y : y + 2, x : x + 2].mean((1, 2)))
    torch.testing.assert_close(joined[:, 0], parts[:, 0].reshape(2, 4, 3).mean(1))


def test_equal_parts_give_their_own_features() -> None:
    part = torch.ones(1, 17, 3)
    torch.testing.assert_close(join_hidden(part.expand(9, 17, 3), 3), part)
    torch.testing.assert_close(join_embeds(torch.ones(9, 16), 3), torch.ones(1, 16))


def test_as_a_grid_embeds_are_pooled_like_pictures() -> None:
    parts = draw(4, 16)
    grid = parts.reshape(2, 2, 4, 4)
    whole = torch.cat([torch.cat([grid[row, column] for column in (0, 1)], 1) for row in (0, 1)])
    pooled = torch.nn.functional.avg_pool2d(whole[None], 2)
    torch.testing.assert_close(join_embeds_as_grid(parts, 2), pooled.reshape(1, 16))


def test_as_a_grid_other_widths_are_averaged() -> None:
    parts = draw(4, 1280)
    assert torch.equal(join_embeds_as_grid(parts, 2), join_embeds(parts, 2))


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_features_of_several_pictures_are_averaged_and_of_one_stand_beside_each_other(ratio: float) -> None:
    whole, parts = draw(2, 8, seed=1), draw(2, 8, seed=2)
    torch.testing.assert_close(mix(whole, parts, ratio), ratio * whole + (1 - ratio) * parts)
    torch.testing.assert_close(mix(whole[:1], parts[:1], ratio), torch.cat([ratio * whole[:1], parts[:1]]))
