"""Portraits of the small world: what each word changes, and where the five points of a face are."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from comfyui_ip_adapter.ip_adapter_core.small_world import people, portraits
from comfyui_ip_adapter.ip_adapter_core.small_world.canvas import PICTURE
from comfyui_ip_adapter.ip_adapter_core.small_world.world import SIDE

WHO = people.somebody(("pale", "red", "short", "shaved"), np.random.default_rng(1))
SHOWN = people.posed(WHO, ("serious", "no", "green", "white"), np.random.default_rng(2))


def difference(one: people.Portrait, other: people.Portrait) -> torch.Tensor:
    """Of each pixel of their sketches, (SIDE, SIDE)."""
    mine, theirs = portraits.sketch([one, other])
    return (mine - theirs).abs().amax(dim=0)


def test_sketch_and_picture_are_of_the_same_portrait_at_every_size() -> None:
    small = portraits.sketch([SHOWN])
    assert small.shape == (1, 3, SIDE, SIDE)
    for side in (PICTURE // 2, PICTURE):
        large = portraits.draw([SHOWN], side)
        assert large.shape == (1, 3, side, side)
        assert 0 <= large.min() <= large.max() <= 1
        assert (avg_pool2d(large, side // SIDE) - small).abs().mean() < 0.06


def test_portraits_are_drawn_alike_alone_and_together() -> None:
    others = [people.portrait(people.person(9, n), 8, n) for n in range(5)]
    together = portraits.draw([SHOWN, *others], PICTURE // 2)
    for row, one in enumerate([SHOWN, *others]):
        torch.testing.assert_close(together[row], portraits.draw([one], PICTURE // 2)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", people.IDENTITY)
def test_each_trait_of_a_person_is_seen(name: str) -> None:
    sketches = []
    for choice in people.IDENTITY[name]:
        wanted = tuple(choice if trait == name else getattr(WHO, trait) for trait in people.IDENTITY)
        sketches.append(replace(SHOWN, person=people.somebody(wanted, np.random.default_rng(1))))
    for first, one in enumerate(sketches):
        for other in sketches[first + 1 :]:
            assert (difference(one, other) > 0.1).sum() >= 5, (name, one, other)


@pytest.mark.parametrize("name", people.LOOK)
def test_each_word_of_a_look_is_seen(name: str) -> None:
    for choice in people.LOOK[name]:
        wanted = tuple(choice if word == name else getattr(SHOWN, word) for word in people.LOOK)
        other = people.posed(WHO, wanted, np.random.default_rng(2))
        assert (difference(SHOWN, other) > 0.1).any() != (choice == getattr(SHOWN, name))


def test_every_proportion_of_a_person_is_seen() -> None:
    measures = [field.name for field in fields(people.Person) if field.type == "float"]
    assert len(measures) == 7
    for name in measures:
        other = replace(SHOWN, person=replace(WHO, **{name: getattr(WHO, name) * 1.3}))
        assert difference(SHOWN, other).max() > 0.03, name


def test_the_points_are_eyes_nose_and_the_ends_of_the_mouth() -> None:
    shown = [people.portrait(people.person(9, n), 8, n) for n in range(12)]
    for one, points in zip(shown, portraits.points(shown, PICTURE), strict=True):
        left, right, nose, first, last = points.tolist()
        assert left[0] < nose[0] < right[0]
        assert max(left[1], right[1]) < nose[1] < min(first[1], last[1])
        assert first[0] < last[0]
        turn = np.arctan2(right[1] - left[1], right[0] - left[0])
        assert turn == pytest.approx(one.tilt, abs=1e-4)


def test_an_eye_is_drawn_where_its_point_is() -> None:
    open_eyed = replace(SHOWN, person=replace(WHO, iris=(0.0, 0.0, 1.0)))
    picture = portraits.draw([open_eyed])[0]
    for x, y in portraits.points([open_eyed])[0, :2].round().int().tolist():
        assert picture[2, y, x] > 0.9
        assert picture[0, y, x] < 0.1


def test_a_mouth_is_drawn_between_its_corners_though_the_head_is_tilted() -> None:
    surprised = replace(SHOWN, expression="surprised", tilt=0.5, radius=10.0)
    picture = portraits.draw([surprised])[0]
    x, y = portraits.points([surprised])[0, 3:].mean(dim=0).round().int().tolist()
    assert picture[:, y, x].max() < 0.4


def test_the_background_is_seen_around_the_head_alone() -> None:
    seen = difference(SHOWN, people.posed(WHO, ("serious", "no", "green", "black"), np.random.default_rng(2))) > 0.1
    x, y = (int(length) for length in SHOWN.centre)
    assert seen[0, 0]
    assert seen[0, -1]
    assert not seen[y - 3 : y + 4, x - 3 : x + 4].any()
