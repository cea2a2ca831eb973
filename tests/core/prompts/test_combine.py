"""Ways to combine images against their formulas, and what weight 0, one image and negative images do in each."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import COMBINE_MODES, CONCAT, Gathering, attn_bias, read_weights
from comfyui_ip_adapter.ip_adapter_core.prompts.features import AdapterInputs
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND, ImagePrompt, image_prompt
from drawn import draw
from fabricate import adapters

Array = NDArray[np.float64]
Formula = Callable[[list[Array], list[float]], Array]

MERGES = [name for name, way in COMBINE_MODES.items() if way.merge]
QUIRK = "norm average (IPAdapter Plus)"
EMBEDS, HIDDEN = (3, 32), (3, 5, 16)

each_merge = pytest.mark.parametrize("how", MERGES)
each_way = pytest.mark.parametrize("how", COMBINE_MODES)
each_shape = pytest.mark.parametrize("shape", [EMBEDS, HIDDEN], ids=["embeds", "hidden"])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    """An adapter that reads faces and hidden states."""
    nested = adapters.adapter(**adapters.KINDS["FaceID-Plus v2"])
    return load(adapters.save(tmp_path_factory.mktemp("adapters") / "faceid-plusv2.safetensors", nested))


BLANK = (torch.zeros(1, 32),)


def embeds(images: int, seed: int = 0) -> AdapterInputs:
    return (draw(images, 32, seed=seed),)


def merged(how: str, found: Tensor, *weights: float) -> Tensor:
    merge = COMBINE_MODES[how].merge
    assert merge
    return merge(found, torch.tensor(weights or (1.0,) * len(found)))


# The formulas


def weighted(images: list[Array], weights: list[float]) -> list[Array]:
    return [weight * image for weight, image in zip(weights, images, strict=True)]


def average(images: list[Array], weights: list[float]) -> Array:
    return sum(weighted(images, weights), np.zeros_like(images[0])) / sum(weights)


def norm_average(images: list[Array], weights: list[float]) -> Array:
    """Directions and lengths along the features, averaged apart."""
    lengths = [np.sqrt((image**2).sum(-1, keepdims=True)) for image in images]
    directions = [image / length for image, length in zip(images, lengths, strict=True)]
    return average(directions, weights) * average(lengths, weights)


def norm_average_across(images: list[Array], weights: list[float]) -> Array:
    """The incumbent's: each number over its length across the images."""
    parts = weighted(images, weights)
    across = np.sqrt(sum(part**2 for part in parts))
    return sum((part / across for part in parts), np.zeros_like(images[0])) / len(parts)


FORMULAS: dict[str, Formula] = {
    "average": average,
    "norm average": norm_average,
    "add": lambda images, weights: np.sum(weighted(images, weights), axis=0),
    "subtract": lambda images, weights: weighted(images, weights)[0] - np.mean(weighted(images, weights)[1:], axis=0),
    "max": lambda images, weights: np.max(weighted(images, weights), axis=0),
    "min": lambda images, weights: np.min(weighted(images, weights), axis=0),
    QUIRK: norm_average_across,
}


def test_every_merge_has_its_formula_here() -> None:
    assert set(MERGES) == FORMULAS.keys()


@each_merge
@each_shape
@pytest.mark.parametrize("images", [2, 3, 6])
@pytest.mark.parametrize("weights", [(1.0,) * 6, (2.0, 0.5, 1.5, 0.25, 1.0, 3.0), (1.5, -0.5, 1.0, 1.0, -0.25, 1.0)])
def test_a_merge_is_its_formula(how: str, shape: tuple[int, ...], images: int, weights: tuple[float, ...]) -> None:
    found = draw(images, *shape[1:])
    assert how in FORMULAS, f"Add the formula of {how} in numpy to FORMULAS."
    expected = FORMULAS[how]([image.double().numpy() for image in found], list(weights[:images]))
    made = merged(how, found, *weights[:images])
    assert made.shape == (1, *shape[1:])
    torch.testing.assert_close(made[0].double(), torch.from_numpy(expected), atol=1e-4, rtol=1e-4)


@each_merge
@each_shape
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_merge_keeps_the_dtype_and_what_it_was_given(how: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    given = draw(*shape).to(dtype)
    before = given.clone()
    assert merged(how, given, 1.0, 0.5, 2.0).dtype == dtype
    assert torch.equal(given, before)


@each_merge
@each_shape
def test_features_of_zeros_stay_zeros(how: str, shape: tuple[int, ...]) -> None:
    assert not merged(how, torch.zeros(shape)).any()


@each_shape
def test_of_images_of_one_length_the_norm_average_is_the_average(shape: tuple[int, ...]) -> None:
    found = draw(*shape)
    found = 3 * found / found.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(merged("norm average", found, 2, 1, 1), merged("average", found, 2, 1, 1))


@each_shape
def test_in_the_norm_average_no_image_counts_more_for_being_longer(shape: tuple[int, ...]) -> None:
    found = draw(*shape)
    longer = torch.cat([10 * found[:1], found[1:]])
    one, other = (merged("norm average", given) for given in (found, longer))
    direction = one / one.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(other / other.norm(dim=-1, keepdim=True), direction)
    assert (
        merged("average", longer) / merged("average", longer).norm(dim=-1, keepdim=True) - direction
    ).abs().max() > 0.1


@each_merge
def test_fields_that_an_adapter_reads_are_merged_in_parallel(both: Adapter, how: str) -> None:
    faces, hidden = draw(3, 512), draw(3, 7, 64, seed=1)
    blank = (torch.zeros(1, 512), torch.zeros(1, 7, 64))
    (part,) = image_prompt(both, (faces, hidden), blank, Gathering(how, (1.0, 0.5, 2.0))).parts
    expected = both.tokens(merged(how, faces, 1.0, 0.5, 2.0), merged(how, hidden, 1.0, 0.5, 2.0))
    torch.testing.assert_close(part.side(COND), expected)
    torch.testing.assert_close(part.side(UNCOND), both.tokens(*blank))


# Weights


def prompts_equal(one: ImagePrompt, other: ImagePrompt) -> None:
    assert len(one.parts) == len(other.parts)
    for ours, theirs in zip(one.parts, other.parts, strict=True):
        for side in (COND, UNCOND):
            torch.testing.assert_close(ours.side(side), theirs.side(side), atol=1e-5, rtol=0)
        for pair, expected in zip(ours.keys_values, theirs.keys_values, strict=True):
            for found, needed in zip(pair, expected, strict=True):
                torch.testing.assert_close(found[ours.row_index], needed[theirs.row_index], atol=1e-4, rtol=0)
        assert ours.weights == theirs.weights
        assert (ours.attn_bias is None) == (theirs.attn_bias is None)
        if ours.attn_bias is not None and theirs.attn_bias is not None:
            torch.testing.assert_close(ours.attn_bias, theirs.attn_bias)


@pytest.mark.parametrize("how", [name for name, way in COMBINE_MODES.items() if not way.framed])
@pytest.mark.parametrize("weights", [(0.0, 1.0, 0.5), (1.0, 0.0, 0.5), (1.0, 0.5, 0.0), (0.0, 0.0, 2.0)])
def test_weight_zero_leaves_the_image_out(adapter: Adapter, how: str, weights: tuple[float, ...]) -> None:
    (cond,) = embeds(3)
    kept = [index for index, weight in enumerate(weights) if weight]
    found = image_prompt(adapter, (cond,), BLANK, Gathering(how, weights))
    left = tuple(weights[index] for index in kept)
    prompts_equal(found, image_prompt(adapter, (cond[kept],), BLANK, Gathering(how, left)))


def test_a_frame_of_weight_zero_keeps_its_place(adapter: Adapter) -> None:
    (part,) = image_prompt(adapter, embeds(3), BLANK, Gathering("one per frame", (1.0, 0.0, 0.5))).parts
    assert (part.frames, part.weights) == (3, (1.0, 0.0, 0.5))
    assert not image_prompt(adapter, embeds(3), BLANK, Gathering("one per frame", (0.0, 0.0, 0.0))).parts


@pytest.mark.parametrize("how", [name for name in COMBINE_MODES if name != QUIRK])
def test_one_image_is_itself_in_every_way(adapter: Adapter, how: str) -> None:
    prompts_equal(
        image_prompt(adapter, embeds(1), BLANK, Gathering(how)), image_prompt(adapter, embeds(1), BLANK, CONCAT)
    )


def test_of_one_image_the_incumbents_norm_average_leaves_signs() -> None:
    found = draw(1, 32)
    torch.testing.assert_close(merged(QUIRK, found), found.sign())


@each_way
def test_weights_of_one_are_no_weights(adapter: Adapter, how: str) -> None:
    prompts_equal(
        image_prompt(adapter, embeds(3), BLANK, Gathering(how, (1.0, 1.0, 1.0))),
        image_prompt(adapter, embeds(3), BLANK, Gathering(how)),
    )


def test_separate_images_stand_apart_at_their_weights(adapter: Adapter) -> None:
    (cond,) = embeds(3)
    prompt = image_prompt(adapter, (cond,), BLANK, Gathering("separate", (1.0, -0.5, 0.25)))
    assert [part.weights for part in prompt.parts] == [(1.0,), (-0.5,), (0.25,)]
    for index, part in enumerate(prompt.parts):
        torch.testing.assert_close(part.side(COND), adapter.tokens(cond[index : index + 1]), atol=1e-5, rtol=0)
        assert part.attn_bias is None
        assert part.frames == 1


# Negative images


NEGATIVES = embeds(2, seed=1)


@pytest.mark.parametrize(
    ("how", "dealt"),
    [("concat", [[0, 1, 0]]), ("separate", [[0], [1], [0]])],
)
def test_negative_images_are_dealt_out_to_the_images(adapter: Adapter, how: str, dealt: list[list[int]]) -> None:
    prompt = image_prompt(adapter, embeds(3), NEGATIVES, Gathering(how))
    for part, rows in zip(prompt.parts, dealt, strict=True):
        expected = adapter.tokens(NEGATIVES[0][rows]).flatten(0, 1)[None]
        torch.testing.assert_close(part.side(UNCOND), expected, atol=1e-5, rtol=0)


@each_merge
def test_negative_images_are_merged_as_the_images_are(adapter: Adapter, how: str) -> None:
    (part,) = image_prompt(adapter, embeds(3), NEGATIVES, Gathering(how, (1.0, 0.5, 2.0))).parts
    torch.testing.assert_close(part.side(UNCOND), adapter.tokens(merged(how, NEGATIVES[0], 1.0, 1.0)))
    (part,) = image_prompt(adapter, embeds(3), (NEGATIVES[0][:1],), Gathering(how, (1.0, 0.5, 2.0))).parts
    torch.testing.assert_close(part.side(UNCOND), adapter.tokens(NEGATIVES[0][:1]))


def test_an_image_keeps_its_negative_when_another_is_left_out(adapter: Adapter) -> None:
    prompt = image_prompt(adapter, embeds(3), NEGATIVES, Gathering("separate", (0.0, 1.0, 1.0)))
    for part, row in zip(prompt.parts, (1, 0), strict=True):
        torch.testing.assert_close(part.side(UNCOND), adapter.tokens(NEGATIVES[0][row : row + 1]), atol=1e-5, rtol=0)


# What is refused


def mask(images: int) -> Tensor:
    return torch.zeros(images, 6, 4)


@pytest.mark.parametrize(
    ("gathering", "complaint"),
    [
        (Gathering("mix"), "Set combine to one of concat, separate.*; found 'mix'"),
        (Gathering(weights=(1.0, 0.5)), "Give weights for each image, or none at all; images: 3, weights: 2"),
        (Gathering(weights=(1.0,) * 4), "images: 3, weights: 4"),
        (Gathering("separate", masks=mask(2)), "Give masks for each image, or none at all; images: 3, masks: 2"),
        (Gathering("one per frame", masks=mask(4)), "images: 3, masks: 4"),
        (Gathering("average", (1.0, float("nan"), 1.0)), "weights of the images to finite numbers; found 1, nan, 1"),
        (Gathering("add", (1.0, float("inf"), 1.0)), "found 1, inf, 1"),
        (Gathering(weights=(0.0, 0.0, 0.0)), "Give one of the images a weight that is not 0"),
        (Gathering("subtract", (0.0, 0.0, 0.0)), "Give one of the images a weight that is not 0"),
        (Gathering(weights=(1.0, -0.5, 1.0)), r"Combine the images by separate, .*; found 1, -0\.5, 1"),
        *(
            (
                Gathering(how, masks=mask(3)),
                f"Set combine to separate, .*; {how.split('(')[0].strip()}.* nothing to mask",
            )
            for how in MERGES
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(adapter: Adapter, gathering: Gathering, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        image_prompt(adapter, embeds(3), BLANK, gathering)


@pytest.mark.parametrize("how", ["average", "norm average"])
def test_weights_that_cancel_have_no_average(adapter: Adapter, how: str) -> None:
    with pytest.raises(ValueError, match="they add up to 0, so they have no average"):
        image_prompt(adapter, embeds(2), BLANK, Gathering(how, (1.0, -1.0)))


@pytest.mark.parametrize("how", ["concat", "separate"])
def test_weights_below_zero_are_good_where_images_stand_apart(adapter: Adapter, how: str) -> None:
    masks = mask(3) if how == "concat" else None
    prompt = image_prompt(adapter, embeds(3), BLANK, Gathering(how, (1.0, -0.5, 1.0), masks))
    assert [part.weights for part in prompt.parts] == [(1.0,), (-0.5,), (1.0,)]


def test_a_gathering_is_not_changed_by_its_check() -> None:
    given = Gathering("average")
    assert given.check(3).weights == (1.0, 1.0, 1.0)
    assert given.weights == ()


# Weights as text, and as logarithms


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("", ()),
        (" \n ", ()),
        ("1", (1.0,)),
        ("1, 0.5", (1.0, 0.5)),
        ("1;0.5\n-2,", (1.0, 0.5, -2.0)),
        (" .25 ,1e-1", (0.25, 0.1)),
        ("1 0.5", (1.0, 0.5)),
        ("1, # of the first\r\n0.5 # of the second", (1.0, 0.5)),
    ],
)
def test_weights_are_read_as_written(text: str, weights: tuple[float, ...]) -> None:
    assert read_weights(text) == weights


@pytest.mark.parametrize(
    ("text", "piece"), [("1, half", "half"), ("0:1", "0:1"), ("1, nan", "nan"), ("-inf", "-inf"), ("1e999", "1e999")]
)
def test_what_is_no_weight_is_quoted(text: str, piece: str) -> None:
    with pytest.raises(ValueError, match=f"Write the weights of the images as numbers such as 1, 0.5; found '{piece}'"):
        read_weights(text)


def test_attn_bias_is_the_logarithm_of_the_weight_for_each_token_of_an_image() -> None:
    found = attn_bias((2.0, 0.5), 3)
    assert found is not None
    torch.testing.assert_close(found.exp(), torch.tensor([2.0, 2.0, 2.0, 0.5, 0.5, 0.5]))


@pytest.mark.parametrize("weights", [(1.0,), (3.0,), (0.5, 0.5, 0.5)])
def test_images_that_count_alike_need_no_attn_bias(weights: tuple[float, ...]) -> None:
    assert attn_bias(weights, 4) is None


@pytest.mark.parametrize(("how", "together"), [("concat", True), ("separate", False), ("one per frame", False)])
def test_only_concat_puts_all_under_one_softmax(how: str, together: bool) -> None:
    assert COMBINE_MODES[how].shares_softmax == together
    assert not any(COMBINE_MODES[merge].shares_softmax for merge in MERGES)
