"""The pictures of the small world: they repeat, and objects, masks and outlines lie on each other."""

import torch
from torch.nn.functional import max_pool2d

from comfyui_ip_adapter.ip_adapter_core.small_world import drawing, world


def test_the_same_seed_draws_the_same_picture_and_another_seed_another() -> None:
    same, other = world.scene(9, 5), world.scene(10, 5)
    assert torch.equal(drawing.draw([same]), drawing.draw([world.scene(9, 5)]))
    assert not torch.equal(drawing.draw([same]), drawing.draw([other]))


def test_an_object_is_painted_where_its_mask_is_and_nowhere_else() -> None:
    scene = world.compose(("ring", "red", "plain"), "white", "large", "center", seed=1)
    empty = world.Scene(scene.objects[:0], scene.background, scene.shade)
    painted = (drawing.draw([scene]) - drawing._backgrounds([empty])).abs().amax(dim=1)
    mask = drawing.covers([scene])
    assert painted[mask == 0].max() == 0
    assert painted[mask > 0.9].min() > 0.1


def test_outlines_follow_the_edge_of_the_mask() -> None:
    scene = world.compose(("circle", "red", "plain"), "white", "large", "center", seed=1)
    lines, mask = drawing.outlines([scene])[0, 0], drawing.covers([scene])[0]
    near = (max_pool2d(mask[None], 5, 1, 2) + max_pool2d(-mask[None], 5, 1, 2))[0]
    assert lines.max() > 0.8
    assert lines[near == 0].max() == 0
