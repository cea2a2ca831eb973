"""The pictures of the small world: they repeat, and objects, masks and outlines lie on each other."""

import torch
from torch.nn.functional import interpolate, max_pool2d

from comfyui_ip_adapter.ip_adapter_core.small_world import canvas, drawing, world


def test_the_same_seed_draws_the_same_picture_and_another_seed_another() -> None:
    same, other = world.scene(9, 5), world.scene(10, 5)
    assert torch.equal(drawing.draw([same]), drawing.draw([world.scene(9, 5)]))
    assert not torch.equal(drawing.draw([same]), drawing.draw([other]))


def test_an_object_is_painted_where_its_mask_is_and_nowhere_else() -> None:
    scene = world.compose(("ring", "red", "plain"), "white", "large", "center", seed=1)
    empty = world.Scene(scene.objects[:0], scene.background, scene.shade)
    painted = drawing.draw([scene]) - canvas.backgrounds([empty], canvas.PICTURE)
    mask = drawing.covers([scene])
    shadow = painted.amin(dim=1)[mask == 0]
    assert painted.amax(dim=1)[mask == 0].max() == 0  # a shadow is never lighter
    assert -0.35 < shadow.min() < -0.1
    assert (shadow == 0).float().mean() > 0.8
    assert painted.abs().amax(dim=1)[mask > 0.9].min() > 0.1


def test_a_sketch_is_its_picture_seen_from_afar() -> None:
    scenes = [world.scene(9, number) for number in range(12)]
    small = interpolate(drawing.draw(scenes), size=(world.SIDE, world.SIDE), mode="area")
    difference = (small - drawing.sketch(scenes)).abs().mean(dim=(1, 2, 3))
    others = (small - drawing.sketch(scenes).roll(1, dims=0)).abs().mean(dim=(1, 2, 3))
    assert difference.max() < 0.05
    assert others.min() > 0.1


def test_a_picture_of_half_the_size_is_the_same_picture() -> None:
    scenes = [world.scene(9, number) for number in range(12)]
    half = drawing.draw(scenes, canvas.PICTURE // 2)
    difference = (half - interpolate(drawing.draw(scenes), scale_factor=0.5, mode="area")).abs()
    assert difference.mean() < 0.005
    assert (half - drawing.draw(scenes, canvas.PICTURE // 2).roll(1, dims=0)).abs().mean() > 0.1


def test_what_faces_the_lamp_is_lighter() -> None:
    scene = world.compose(("circle", "red", "plain"), "white", "large", "center", seed=1)
    red = drawing.draw([scene])[0, 0]
    middle, off = canvas.PICTURE // 2, canvas.PICTURE // 5
    assert red[middle - off, middle - off] > red[middle, middle] > red[middle + off, middle + off]


def test_outlines_follow_the_edge_of_the_mask() -> None:
    scene = world.compose(("circle", "red", "plain"), "white", "large", "center", seed=1)
    lines, mask = drawing.outlines([scene])[0, 0], drawing.covers([scene])[0]
    width = 2 * canvas.SCALE + 1
    near = (max_pool2d(mask[None], width, 1, width // 2) + max_pool2d(-mask[None], width, 1, width // 2))[0]
    assert lines.max() > 0.8
    assert lines[near == 0].max() == 0
