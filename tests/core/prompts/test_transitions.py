"""Transitions: where images stand alone, how one gives way to the next, and what frames of a prompt read."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.prompts.arithmetic import concat_parts
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND, ImagePrompt, image_prompt
from comfyui_ip_adapter.ip_adapter_core.prompts.transitions import EASINGS, Transition, over_frames, read_keys
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve

CASES = [
    (2, Transition(2)),
    (2, Transition(16)),
    (3, Transition(16)),
    (5, Transition(5)),
    (3, Transition(16, loop=True)),
    (2, Transition(2, loop=True)),
    (5, Transition(7, loop=True)),
    (3, Transition(20, (2, 5, 17))),
    (3, Transition(20, (2, 5, 17), loop=True)),
    (3, Transition(16, hold=0.5)),
    (3, Transition(16, hold=1.0, loop=True)),
]

each_case = pytest.mark.parametrize(("images", "transition"), CASES)
each_way = pytest.mark.parametrize("shape", EASINGS)

Weights = list[float]


def weights(images: int, transition: Transition) -> list[Weights]:
    """For each frame the weight of every image."""
    found = []
    for start, end, come in transition.check(images).shares():
        frame = [0.0] * images
        frame[start] += 1 - come
        frame[end] += come
        found.append(frame)
    return found


def alone(image: int, images: int) -> Weights:
    return [float(number == image) for number in range(images)]


# What every transition does


@each_case
@each_way
def test_the_weights_of_every_frame_add_up_to_one(images: int, transition: Transition, shape: str) -> None:
    found = weights(images, replace(transition, shape=shape))
    assert len(found) == transition.frames
    for frame in found:
        assert sum(frame) == 1
        assert min(frame) >= 0


@each_case
@each_way
def test_every_image_stands_alone_at_its_key(images: int, transition: Transition, shape: str) -> None:
    checked = replace(transition, shape=shape).check(images)
    found = weights(images, checked)
    assert len(checked.keys) == images
    for image, key in enumerate(checked.keys):
        assert found[key] == alone(image, images)


@each_case
@each_way
def test_between_keys_only_their_two_images_act_and_one_gives_way_to_the_other(
    images: int, transition: Transition, shape: str
) -> None:
    checked = replace(transition, shape=shape).check(images)
    found = weights(images, checked)
    for image, (start, end) in enumerate(pairwise(checked.keys)):
        way = found[start : end + 1]
        assert all(frame[image] + frame[image + 1] == 1 for frame in way)
        assert [frame[image] for frame in way] == sorted((frame[image] for frame in way), reverse=True)


@each_way
def test_the_way_has_the_shape_of_its_curve(shape: str) -> None:
    found = [second for _, second in weights(2, Transition(21, shape=shape))]
    curve = Curve(shape, "frames", 0.0, 1.0)
    assert found == pytest.approx([curve.value(frame, 21) for frame in range(21)])


# Keys


@pytest.mark.parametrize(("images", "frames"), [(2, 2), (3, 16), (4, 7), (7, 100), (16, 16)])
def test_keys_lie_evenly_from_the_first_frame_to_the_last(images: int, frames: int) -> None:
    keys = Transition(frames).check(images).keys
    gaps = [after - before for before, after in pairwise(keys)]
    assert (keys[0], keys[-1]) == (0, frames - 1)
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(("images", "frames"), [(2, 2), (3, 16), (4, 7), (7, 100), (16, 16)])
def test_keys_of_a_loop_lie_evenly_with_the_way_back(images: int, frames: int) -> None:
    keys = Transition(frames, loop=True).check(images).keys
    gaps = [after - before for before, after in pairwise((*keys, keys[0] + frames))]
    assert keys[0] == 0
    assert max(gaps) - min(gaps) <= 1


def test_before_the_first_key_and_after_the_last_nothing_changes() -> None:
    found = weights(3, Transition(20, (2, 5, 17)))
    assert found[:3] == [alone(0, 3)] * 3
    assert found[17:] == [alone(2, 3)] * 3


# Loops


@each_way
def test_a_loop_goes_back_to_the_first_image_as_it_goes_to_any_other(shape: str) -> None:
    found = weights(2, Transition(16, shape=shape, loop=True))
    there, back = found[:8], found[8:]
    assert back == [[second, first] for first, second in there]
    assert back[0] == alone(1, 2)
    assert back[-1][0] > 0  # and the frame after it is the first one


def test_a_loop_goes_on_at_the_beginning_where_the_first_key_is_later() -> None:
    found = weights(3, Transition(20, (6, 10, 14), loop=True))
    back = [frame[0] for frame in (*found[14:], *found[:7])]
    assert back == pytest.approx([step / 12 for step in range(13)])
    assert all(frame[0] + frame[2] == 1 for frame in (*found[14:], *found[:7]))


# Hold


@pytest.mark.parametrize("hold", [0.0, 0.2, 0.5, 0.9])
def test_hold_leaves_its_share_of_the_way_still_half_at_each_end(hold: float) -> None:
    many = 1001
    found = [second for _, second in weights(2, Transition(many, hold=hold))]
    expected = [min(max((frame / (many - 1) - hold / 2) / (1 - hold), 0), 1) for frame in range(many)]
    assert found == pytest.approx(expected)
    still = sum(come in (0, 1) for come in found) / many
    assert still == pytest.approx(hold, abs=0.005)


@each_way
def test_hold_of_the_whole_way_is_a_cut_in_its_middle(shape: str) -> None:
    found = [second for _, second in weights(2, Transition(10, shape=shape, hold=1.0))]
    assert found == [0.0] * 5 + [1.0] * 5


# What is refused


@pytest.mark.parametrize(
    ("images", "transition", "complaint"),
    [
        (1, Transition(16), "two or more images"),
        (5, Transition(4), "Set frames to 5 or more; found 5 images for 4 frames"),
        (2, Transition(16, shape="zigzag"), "Set shape to one of linear, ease in-out.*; found 'zigzag'"),
        *(
            (2, Transition(16, shape=shape), "Set shape to one of")
            for shape in ("constant", "points", "random", "first n")
        ),
        (2, Transition(16, hold=-0.1), r"Set hold to 0\.\.1; found -0\.1"),
        (2, Transition(16, hold=1.5), r"found 1\.5"),
        (2, Transition(16, hold=math.nan), "found nan"),
        (3, Transition(16, (0, 15)), r"Give one key frame for each image, or none; images: 3, key frames: 2"),
        (2, Transition(16, (5, 2)), r"key_frames so that they rise and lie in 0\.\.15; found 5, 2"),
        (2, Transition(16, (5, 5)), "they rise"),
        (2, Transition(16, (-1, 5)), r"lie in 0\.\.15"),
        (2, Transition(16, (0, 16)), r"lie in 0\.\.15"),
    ],
)
def test_what_cannot_be_meant_is_refused(images: int, transition: Transition, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        transition.check(images)


def test_with_nothing_but_holding_the_next_image_begins_in_the_middle() -> None:
    comes = [come for _, _, come in Transition(9, hold=1.0).check(2).shares()]
    assert comes == [0.0] * 4 + [1.0] * 4 + [0.0]  # the last image alone at its key


def test_a_transition_is_not_changed_by_its_check() -> None:
    given = Transition(16)
    assert given.check(3).keys == (0, 8, 15)
    assert given.keys == ()


# Key frames as text


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ()),
        (" \n", ()),
        ("0", (0,)),
        ("0, 8, 16", (0, 8, 16)),
        ("0 8;16\n24,", (0, 8, 16, 24)),
        ("0 8 # begins\n16", (0, 8, 16)),
        ("9" * 400, (int("9" * 400),)),
        ("-1", (-1,)),
    ],
)
def test_key_frames_are_read_as_written(text: str, keys: tuple[int, ...]) -> None:
    assert read_keys(text) == keys


@pytest.mark.parametrize(
    ("text", "piece"), [("0, 8.5", "8.5"), ("0 last", "last"), ("1e3", "1e3"), ("nan", "nan"), ("0:1", "0:1")]
)
def test_what_is_no_frame_number_is_quoted(text: str, piece: str) -> None:
    with pytest.raises(ValueError, match=f"Write the key frames as whole numbers such as 0, 8, 16; found '{piece}'"):
        read_keys(text)


# Prompts


def encode(
    adapter: Adapter, images: int = 3, negatives: int = 1, how: str = "one per frame", **gathered: Any
) -> ImagePrompt:
    cond, uncond = (
        torch.randn(many, 32, generator=torch.Generator().manual_seed(seed))
        for seed, many in enumerate((images, negatives))
    )
    return image_prompt(adapter, (cond,), (uncond,), Gathering(how, **gathered))


@each_case
def test_every_frame_reads_the_images_of_its_shares(adapter: Adapter, images: int, transition: Transition) -> None:
    prompt = encode(adapter, images, negatives=2)
    found, checked = over_frames(prompt, transition)
    (given,), (leaving, coming) = prompt.parts, found.parts
    assert checked == transition.check(images)
    assert leaving.frames == coming.frames == len(leaving.weights) == len(coming.weights) == transition.frames
    for frame, (start, end, come) in enumerate(checked.shares()):
        for side in (COND, UNCOND):
            assert torch.equal(leaving.side(side)[frame], given.side(side)[start])
            assert torch.equal(coming.side(side)[frame], given.side(side)[end])
        assert (leaving.weights[frame], coming.weights[frame]) == (1 - come, come)


def test_frames_share_tokens_keys_and_values(adapter: Adapter) -> None:
    prompt = encode(adapter)
    found, _ = over_frames(prompt, Transition(1000))
    for part in found.parts:
        assert part.tokens is prompt.parts[0].tokens
        assert part.keys_values is prompt.parts[0].keys_values


def test_images_keep_the_weights_they_have(adapter: Adapter) -> None:
    prompt = encode(adapter, weights=(1.0, 0.5, 2.0))
    leaving, coming = over_frames(prompt, Transition(5))[0].parts
    total = [a + b for a, b in zip(leaving.weights, coming.weights, strict=True)]
    assert total == pytest.approx([1.0, 0.75, 0.5, 1.25, 2.0])
    alike = encode(adapter, weights=(0.5, 0.5, 0.5))
    leaving, coming = over_frames(alike, Transition(5))[0].parts
    assert [a + b for a, b in zip(leaving.weights, coming.weights, strict=True)] == pytest.approx([0.5] * 5)


def test_the_mask_of_an_image_follows_it_through_the_frames(adapter: Adapter) -> None:
    masks: Tensor = torch.rand(3, 6, 4, generator=torch.Generator().manual_seed(0))
    found, checked = over_frames(encode(adapter, masks=masks), Transition(7, (1, 2, 5)))
    (leaving,), (coming,) = (part.masks for part in found.parts)
    for frame, (start, end, _) in enumerate(checked.shares()):
        assert torch.equal(leaving[frame], masks[start])
        assert torch.equal(coming[frame], masks[end])


def test_one_mask_for_all_images_stays_one(adapter: Adapter) -> None:
    prompt = encode(adapter)
    mask = torch.zeros(1, 6, 4)
    placed = replace(prompt, parts=(replace(prompt.parts[0], masks=(mask,)),))
    assert all(part.masks[0] is mask for part in over_frames(placed, Transition(16))[0].parts)


def test_a_prompt_of_one_frame_is_refused(adapter: Adapter) -> None:
    with pytest.raises(ValueError, match=r"two or more images, combined one per frame"):
        over_frames(encode(adapter, how="concat"), Transition(16))


def test_a_prompt_of_several_parts_is_refused(adapter: Adapter) -> None:
    for prompt in (encode(adapter, how="separate"), concat_parts([encode(adapter), encode(adapter)])):
        with pytest.raises(ValueError, match=r"Encode the images combined one per frame; these stand in several parts"):
            over_frames(prompt, Transition(16))
