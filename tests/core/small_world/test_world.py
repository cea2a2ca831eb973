"""What there is in the small world: combinations that training never shows, and captions."""

import numpy as np

from comfyui_ip_adapter.ip_adapter_core.small_world import world

SEEN, UNSEEN = ([world.scene(9, n, unseen=unseen) for n in range(600)] for unseen in (False, True))


def looks(scenes: list[world.Scene]) -> list[tuple[str, str, str, str]]:
    """The combinations that scenes show."""
    return [(one.shape, one.colour, one.texture, scene.background) for scene in scenes for one in scene.objects]


def test_training_shows_no_held_out_combination_and_the_test_no_other() -> None:
    assert not any(world.held_out(*look) for look in looks(SEEN))
    assert all(world.held_out(*look) for look in looks(UNSEEN))


def test_about_one_combination_in_seven_is_held_out_and_every_choice_is_seen() -> None:
    combinations = [
        (shape, colour, texture, background)
        for shape in world.SHAPES
        for colour in world.COLOURS
        for texture in world.TEXTURES
        for background in world.BACKGROUNDS
    ]
    assert 0.12 < np.mean([world.held_out(*one) for one in combinations]) < 0.17
    for scenes in (SEEN, UNSEEN):
        for choices, seen in zip(world.ATTRIBUTES.values(), zip(*looks(scenes), strict=True), strict=True):
            assert set(seen) == set(choices)


def test_a_caption_names_what_was_wished() -> None:
    scene = world.compose(("star", "orange", "dotted"), "sky", "large", "left", seed=3)
    assert world.caption(scene) == "a large orange dotted star on the left on a sky background"


def test_silence_leaves_words_out_but_never_the_shape() -> None:
    dice = np.random.default_rng(0)
    short = [world.caption(scene, dice, silence=0.5) for scene in SEEN]
    assert sum(map(len, short)) < 0.75 * sum(len(world.caption(scene)) for scene in SEEN)
    assert all(one.shape in text for text, scene in zip(short, SEEN, strict=True) for one in scene.objects)


def test_shapes_are_left_out_at_a_rate_of_their_own() -> None:
    said = [world.caption(scene, np.random.default_rng(0), nameless=1) for scene in SEEN]
    assert not [text for text in said for shape in world.SHAPES if shape in text]
    assert all(scene.background in text for text, scene in zip(said, SEEN, strict=True))
