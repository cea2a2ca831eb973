"""Arithmetic on prompts against what the adapter makes of the tokens, and what cannot be mixed."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from attended import TINY, attended
from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.attention.application import applications
from comfyui_ip_adapter.ip_adapter_core.prompts.arithmetic import (
    PROMPT_OPS,
    add_mask,
    combine_prompts,
    concat_parts,
    scale_prompt,
)
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.features import AdapterInputs
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import (
    COND,
    UNCOND,
    ImagePrompt,
    Origin,
    PromptPart,
    image_prompt,
)
from fabricate import adapters
from same_prompt import read

MIXED = ("interpolate", "add", "subtract")
SIDES = (COND, UNCOND)

each_mix = pytest.mark.parametrize("how", MIXED)


@pytest.fixture(scope="module")
def another(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    """An adapter of the same shapes with other weights."""
    return load(adapters.save(tmp_path_factory.mktemp("adapters") / "b.safetensors", adapters.adapter(seed=1)))


@pytest.fixture(scope="module")
def plus(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    nested = adapters.adapter(**adapters.KINDS["plus"])
    return load(adapters.save(tmp_path_factory.mktemp("adapters") / "plus.safetensors", nested))


def embeds(*seeds: int) -> Tensor:
    return torch.stack([torch.randn(32, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def states(network: Adapter, seed: int) -> AdapterInputs:
    """Something that an adapter of any kind could read of one image."""
    return read(network.identity(), 1, seed)


def pair_of(kind: str, folder: Path) -> tuple[tuple[ImagePrompt, ImagePrompt], Adapter]:
    """The prompts of two images by an adapter of a kind."""
    network = load(adapters.save(folder / "a.safetensors", adapters.adapter(**adapters.KINDS[kind])))
    given = [states(network, seed) for seed in (0, 1)]
    one, other = (image_prompt(network, cond, tuple(map(torch.zeros_like, cond))) for cond in given)
    return (one, other), network


def encode(network: Adapter, *seeds: int, negative: int = 100, **gathered: Any) -> ImagePrompt:
    """The prompt of images by their seeds; the negative one differs from that of another encoding by its seed."""
    return image_prompt(network, (embeds(*seeds),), (embeds(negative),), Gathering(**gathered))


@pytest.fixture
def first(adapter: Adapter) -> ImagePrompt:
    return encode(adapter, 1)


@pytest.fixture
def second(adapter: Adapter) -> ImagePrompt:
    return encode(adapter, 2, negative=101)


def only(prompt: ImagePrompt) -> PromptPart:
    (part,) = prompt.parts
    return part


def pieces(part: PromptPart, side: int) -> Iterator[Tensor]:
    """Tokens, and keys and values of every layer, as the frames of one side read them."""
    yield part.side(side)
    for keys, values in part.keys_values:
        yield from (keys[part.row_index[side]], values[part.row_index[side]])


def check_side(found: PromptPart, side: int, expected: list[Tensor]) -> None:
    for ours, needed in zip(pieces(found, side), expected, strict=True):
        torch.testing.assert_close(ours, needed, atol=1e-5, rtol=1e-5)


def attends_alike(one: PromptPart, other: PromptPart) -> None:
    for side in SIDES:
        for a, b in zip(attended(one, side), attended(other, side), strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


# Interpolation


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.3, 0.0), (0.0, 1.0), (0.0, 5.0)])
def test_the_ends_of_an_interpolation_are_the_prompts_bit_for_bit(
    first: ImagePrompt, second: ImagePrompt, weights: tuple[float, float]
) -> None:
    found, expected = (
        only(combine_prompts(first, second, "interpolate", weights)),
        only(first if weights[0] else second),
    )
    for side in SIDES:
        assert all(map(torch.equal, pieces(found, side), pieces(expected, side)))


@pytest.mark.parametrize("weight", [0.5, 1.0, -2.0])
def test_the_middle_of_an_interpolation_is_the_mean_on_both_sides(
    first: ImagePrompt, second: ImagePrompt, weight: float
) -> None:
    found = only(combine_prompts(first, second, "interpolate", (weight, weight)))
    for side in SIDES:
        of_both = zip(*(pieces(only(prompt), side) for prompt in (first, second)), strict=True)
        check_side(found, side, [(a + b) / 2 for a, b in of_both])


def test_only_the_proportion_counts_in_an_interpolation(first: ImagePrompt, second: ImagePrompt) -> None:
    one, other = (only(combine_prompts(first, second, "interpolate", weights)) for weights in ((0.2, 0.6), (1.0, 3.0)))
    for side in SIDES:
        check_side(one, side, list(pieces(other, side)))


def test_an_interpolation_of_a_prompt_with_itself_is_that_prompt(first: ImagePrompt) -> None:
    for side in SIDES:
        check_side(
            only(combine_prompts(first, first, "interpolate", (0.3, 0.9))), side, list(pieces(only(first), side))
        )


# Sums and differences


@pytest.mark.parametrize(("how", "sign"), [("add", 1.0), ("subtract", -1.0)])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.0), (1.0, -0.25), (1.0, 0.0)])
def test_sums_are_of_the_cond_sides_and_the_uncond_side_is_that_of_the_first(
    first: ImagePrompt, second: ImagePrompt, how: str, sign: float, weights: tuple[float, float]
) -> None:
    found, (one, other) = only(combine_prompts(first, second, how, weights)), weights
    of_both = zip(*(pieces(only(prompt), COND) for prompt in (first, second)), strict=True)
    check_side(found, COND, [one * a + sign * other * b for a, b in of_both])
    assert all(map(torch.equal, pieces(found, UNCOND), pieces(only(first), UNCOND)))


@each_mix
def test_keys_and_values_are_those_the_adapter_makes_of_the_mixed_tokens(
    adapter: Adapter, first: ImagePrompt, second: ImagePrompt, how: str
) -> None:
    part = only(combine_prompts(first, second, how, (0.7, 0.4)))
    for found, expected in zip(part.keys_values, adapter.keys_values(part.tokens), strict=True):
        torch.testing.assert_close(found.keys, expected.keys, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.values, expected.values, atol=1e-5, rtol=1e-5)


@each_mix
@pytest.mark.parametrize("kind", ["XLabs", "InstantX Flux"])
def test_keys_and_values_that_are_not_linear_are_made_of_the_mixed_tokens(tmp_path: Path, kind: str, how: str) -> None:
    (one, other), network = pair_of(kind, tmp_path)
    part = only(combine_prompts(one, other, how, (0.7, 0.4)))
    for found, expected in zip(part.keys_values, network.keys_values(part.tokens), strict=True):
        torch.testing.assert_close(found.keys, expected.keys, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.values, expected.values, atol=1e-5, rtol=1e-5)


def test_a_larger_sum_of_keys_that_are_normalised_is_louder_and_not_sharper(tmp_path: Path) -> None:
    (one, other), _ = pair_of("InstantX Flux", tmp_path)
    found, single = (only(combine_prompts(one, other, "add", (weight, 0.0))) for weight in (2.0, 1.0))
    for more, less in zip(found.keys_values, single.keys_values, strict=True):
        torch.testing.assert_close(more.keys[0], less.keys[0], atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(more.values[0], 2 * less.values[0], atol=1e-5, rtol=1e-5)


def test_a_bias_counts_once_in_a_sum(tmp_path: Path) -> None:
    (one, other), network = pair_of("XLabs", tmp_path)
    part = only(combine_prompts(one, other, "add", (1.0, 1.0)))
    for layer, found, *both in zip(
        network.layers(), part.keys_values, only(one).keys_values, only(other).keys_values, strict=True
    ):
        expected = both[0].keys[0] + both[1].keys[0] - layer.to_k_ip.bias
        torch.testing.assert_close(found.keys[0], expected, atol=1e-5, rtol=1e-5)


def test_what_follows_the_noise_level_is_mixed_before_there_are_tokens(tmp_path: Path) -> None:
    kind = "InstantX SD3.5"
    (one, other), network = pair_of(kind, tmp_path)
    mixed = only(combine_prompts(one, other, "interpolate", (0.5, 0.5)))
    both = tuple(torch.cat(fields) for fields in zip(*(states(network, seed) for seed in (0, 1)), strict=True))
    nothing = tuple(torch.zeros_like(field[:1]) for field in both)
    average = only(image_prompt(network, both, nothing, Gathering("average")))
    torch.testing.assert_close(mixed.side(COND), average.side(COND), atol=1e-5, rtol=1e-5)
    assert not mixed.keys_values
    at = [network.keys_values_at(only(prompt).side(COND), 1, 500.0)[0].kv.values for prompt in (one, other)]
    found = network.keys_values_at(mixed.side(COND), 1, 500.0)[0].kv.values
    assert (found - (at[0] + at[1]) / 2).abs().max() > 0.05 * found.abs().max()


@each_mix
def test_both_sides_that_guidance_must_not_tell_apart_stay_alike(tmp_path: Path, how: str) -> None:
    network = load(adapters.save(tmp_path / "a.safetensors", adapters.adapter(**adapters.KINDS["Anima PE-Core"])))
    read = [(torch.randn(1, 9, network.identity().widths[-1]),) for _ in range(3)]
    one, other = (image_prompt(network, cond, cond) for cond in read[:2])
    part = only(combine_prompts(one, other, how, (0.7, 0.4)))
    assert all(map(torch.equal, pieces(part, COND), pieces(part, UNCOND)))
    negative = image_prompt(network, read[0], read[2])
    part = only(combine_prompts(negative, other, "add", (0.7, 0.4)))
    assert all(map(torch.equal, pieces(part, UNCOND), pieces(only(negative), UNCOND)))


@pytest.mark.parametrize("how", PROMPT_OPS)
def test_the_given_prompts_stay_as_they_were(first: ImagePrompt, second: ImagePrompt, how: str) -> None:
    before = [[piece.clone() for side in SIDES for piece in pieces(only(p), side)] for p in (first, second)]
    combine_prompts(first, second, how, (0.7, 0.4))
    for prompt, expected in zip((first, second), before, strict=True):
        assert all(map(torch.equal, (piece for side in SIDES for piece in pieces(only(prompt), side)), expected))


@each_mix
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_mixture_keeps_the_dtype(first: ImagePrompt, second: ImagePrompt, how: str, dtype: torch.dtype) -> None:
    one, other = (_cast(prompt, dtype=dtype) for prompt in (first, second))
    assert {piece.dtype for piece in pieces(only(combine_prompts(one, other, how, (0.7, 0.4))), COND)} == {dtype}


@pytest.mark.parametrize("how", PROMPT_OPS)
def test_prompts_are_combined_on_the_device_where_they_are(first: ImagePrompt, second: ImagePrompt, how: str) -> None:
    one, other = (_cast(prompt, device="meta") for prompt in (first, second))
    found = combine_prompts(one, other, how, (0.7, 0.4))
    assert {piece.device.type for piece in pieces(found.parts[0], COND)} == {"meta"}


def _cast(prompt: ImagePrompt, **to: Any) -> ImagePrompt:
    def cast(piece: Tensor) -> Tensor:
        return piece.to(**to)

    part = only(prompt)
    made = tuple(KeysValues(cast(keys), cast(values)) for keys, values in part.keys_values)
    return replace(prompt, parts=(replace(part, tokens=cast(part.tokens), keys_values=made),))


# Side by side, and both


def test_side_by_side_is_both_images_under_one_softmax(
    adapter: Adapter, first: ImagePrompt, second: ImagePrompt
) -> None:
    together = image_prompt(adapter, (embeds(1, 2),), (embeds(100, 101),))
    found = combine_prompts(first, second, "side by side", (1.0, 1.0))
    assert only(found).attn_bias is None
    for side in SIDES:
        check_side(only(found), side, list(pieces(only(together), side)))
    attends_alike(only(found), only(together))


@pytest.mark.parametrize("weights", [(2.0, 1.0), (0.5, 0.75)])
def test_weights_side_by_side_are_those_of_images_under_one_softmax(
    adapter: Adapter, first: ImagePrompt, second: ImagePrompt, weights: tuple[float, float]
) -> None:
    together = image_prompt(adapter, (embeds(1, 2),), (embeds(100, 101),), Gathering(weights=weights))
    attends_alike(only(combine_prompts(first, second, "side by side", weights)), only(together))


def test_side_by_side_images_keep_the_weights_they_had(adapter: Adapter, second: ImagePrompt) -> None:
    several = encode(adapter, 1, 3, weights=(2.0, 1.0))
    found = combine_prompts(several, second, "side by side", (1.0, 3.0))
    negatives = embeds(100, 100, 101)
    together = image_prompt(adapter, (embeds(1, 3, 2),), (negatives,), Gathering(weights=(2.0, 1.0, 3.0)))
    attends_alike(only(found), only(together))
    assert only(found).images == only(together).images == 3


def test_side_by_side_a_prompt_of_weight_zero_is_left_out(first: ImagePrompt, second: ImagePrompt) -> None:
    assert combine_prompts(first, second, "side by side", (0.7, 0.0)) is first
    assert combine_prompts(first, second, "side by side", (0.0, 0.7)) is second


def test_both_are_two_applications(adapter: Adapter, first: ImagePrompt) -> None:
    separate = encode(adapter, 2, 3, how="separate", weights=(1.0, 0.5))
    found = applications(combine_prompts(first, separate, "both", (0.8, 0.5)), TINY, adapters.TINY_CONTEXT)
    assert [made.part.weights for made in found] == [(0.8,), (0.5,), (0.25,)]
    for made, part in zip(found, (*first.parts, *separate.parts), strict=True):
        assert made.part.keys_values is part.keys_values


@pytest.mark.parametrize("weights", [(0.8, 0.0), (0.0, 0.8)])
def test_of_both_one_of_weight_zero_is_left_out(
    first: ImagePrompt, second: ImagePrompt, weights: tuple[float, float]
) -> None:
    found = only(combine_prompts(first, second, "both", weights))
    assert found.weights == (0.8,)
    assert found.tokens is only(first if weights[0] else second).tokens


def test_both_at_weight_zero_do_nothing(first: ImagePrompt, second: ImagePrompt) -> None:
    assert not applications(combine_prompts(first, second, "both", (0.0, 0.0)), TINY, adapters.TINY_CONTEXT)


# Frames


@pytest.fixture
def framed(adapter: Adapter) -> ImagePrompt:
    return encode(adapter, 3, 4, 5, how="one per frame")


@each_mix
@pytest.mark.parametrize("turned", [False, True])
def test_a_framed_prompt_is_mixed_with_an_unframed_one_frame_by_frame(
    adapter: Adapter, first: ImagePrompt, framed: ImagePrompt, how: str, turned: bool
) -> None:
    one, other = (framed, first) if turned else (first, framed)
    found = only(combine_prompts(one, other, how, (0.7, 0.4)))
    assert found.frames == 3
    for frame, seed in enumerate((3, 4, 5)):
        still = encode(adapter, seed)
        expected = only(combine_prompts(*((still, first) if turned else (first, still)), how, (0.7, 0.4)))
        for side in SIDES:
            for ours, needed in zip(pieces(found, side), pieces(expected, side), strict=True):
                torch.testing.assert_close(ours[frame : frame + 1], needed, atol=1e-5, rtol=1e-5)


def test_of_framed_prompts_the_shorter_ones_last_image_holds(adapter: Adapter, framed: ImagePrompt) -> None:
    shorter = encode(adapter, 6, 7, how="one per frame")
    found = only(combine_prompts(framed, shorter, "interpolate", (0.0, 1.0)))
    torch.testing.assert_close(found.side(COND), only(shorter).side(COND)[[0, 1, 1]], atol=0, rtol=0)
    assert found.row_index.shape == (2, 3)


def test_a_framed_prompt_stands_side_by_side_with_an_unframed_one(
    adapter: Adapter, first: ImagePrompt, framed: ImagePrompt
) -> None:
    found = only(combine_prompts(framed, first, "side by side", (2.0, 1.0)))
    assert found.frames == 3
    for frame, seed in enumerate((3, 4, 5)):
        alone = replace(found, row_index=found.row_index[:, frame : frame + 1])
        attends_alike(alone, only(encode(adapter, seed, 1, weights=(2.0, 1.0))))


# What cannot be combined


@pytest.mark.parametrize("how", PROMPT_OPS)
def test_prompts_of_adapters_with_other_weights_are_refused_by_name(
    adapter: Adapter, another: Adapter, first: ImagePrompt, how: str
) -> None:
    one = replace(first, origin=Origin("a.safetensors", adapter.digest()))
    other = replace(encode(another, 2), origin=Origin("b.safetensors", another.digest()))
    with pytest.raises(ValueError, match=r"^Encode both with .* of two adapters, a\.safetensors and b\.safetensors"):
        combine_prompts(one, other, how, (0.5, 0.5))


@pytest.mark.parametrize("how", PROMPT_OPS)
def test_prompts_of_other_kinds_are_refused(plus: Adapter, first: ImagePrompt, how: str) -> None:
    hidden = torch.randn(1, 7, 64)
    with pytest.raises(ValueError, match="of two adapters, base and plus"):
        combine_prompts(first, image_prompt(plus, (hidden,), (hidden * 0,)), how, (0.5, 0.5))


def test_an_adapter_under_another_name_is_the_same(first: ImagePrompt, second: ImagePrompt) -> None:
    one, other = (replace(p, origin=Origin(name, "digest")) for p, name in ((first, "a"), (second, "folder/b")))
    assert combine_prompts(one, other, "add", (1.0, 1.0)).origin == Origin("a", "digest")


@each_mix
def test_prompts_with_other_numbers_of_tokens_are_refused(adapter: Adapter, first: ImagePrompt, how: str) -> None:
    with pytest.raises(ValueError, match=r"same number of images, or combine them side by side.*have 4 and 8 tokens"):
        combine_prompts(first, encode(adapter, 2, 3), how, (0.5, 0.5))


@pytest.mark.parametrize("how", [*MIXED, "side by side"])
def test_prompts_in_other_numbers_of_places_are_refused(adapter: Adapter, first: ImagePrompt, how: str) -> None:
    with pytest.raises(ValueError, match=r'by "both".* in 1 and 2 places'):
        combine_prompts(first, encode(adapter, 2, 3, how="separate"), how, (0.5, 0.5))


@pytest.mark.parametrize("how", [*MIXED, "side by side"])
def test_prompts_of_other_weights_or_masks_are_refused(first: ImagePrompt, second: ImagePrompt, how: str) -> None:
    half = torch.zeros(1, 4, 4)
    half[..., :2] = 1
    for other in (scale_prompt(second, 0.5), add_mask(second, half)):
        with pytest.raises(ValueError, match=r'same weights and masks, or combine them by "both"; .* different ones'):
            combine_prompts(first, other, how, (0.5, 0.5))
    assert only(combine_prompts(add_mask(first, half), add_mask(second, half.clone()), how, (0.5, 0.5))).masks


@each_mix
def test_prompts_whose_images_count_differently_are_refused(adapter: Adapter, how: str) -> None:
    plain, weighted, alike = (encode(adapter, 1, 2, weights=weights) for weights in ((), (2.0, 1.0), (2.0, 1.0)))
    with pytest.raises(ValueError, match="count differently under one softmax"):
        combine_prompts(plain, weighted, how, (0.5, 0.5))
    assert only(combine_prompts(weighted, alike, how, (0.5, 0.5))).attn_bias is only(weighted).attn_bias


@pytest.mark.parametrize(
    ("how", "weights", "complaint"),
    [
        ("interpolate", (1.0, -1.0), "Change one of the weights 1 and -1; they add up to 0"),
        ("interpolate", (0.0, 0.0), "add up to 0"),
        ("side by side", (1.0, -0.5), r"Set both weights to 0 or more; they are 1 and -0\.5, and under one softmax"),
        ("side by side", (0.0, 0.0), "Give one of the prompts a weight that is not 0"),
        ("add", (float("nan"), 1.0), "Set first_weight to a finite number such as 0.8; found nan"),
        ("both", (1.0, float("inf")), "Set second_weight to a finite number such as 0.8; found inf"),
        ("multiply", (1.0, 1.0), "Set how to one of interpolate, add.*; found 'multiply'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    first: ImagePrompt, second: ImagePrompt, how: str, weights: tuple[float, float], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        combine_prompts(first, second, how, weights)


# Pieces that nodes use


def test_joined_prompts_stand_one_after_the_other(first: ImagePrompt, second: ImagePrompt) -> None:
    assert concat_parts([first, second, first]).parts == (*first.parts, *second.parts, *first.parts)


def test_a_weighed_prompt_has_every_strength_multiplied(adapter: Adapter) -> None:
    framed = encode(adapter, 1, 2, how="one per frame", weights=(1.0, 0.5))
    assert only(scale_prompt(framed, 0.5)).weights == (0.5, 0.25)
    assert only(scale_prompt(framed, 0.5)).keys_values is only(framed).keys_values


def test_a_placed_prompt_keeps_the_masks_it_had(first: ImagePrompt) -> None:
    one, other = torch.zeros(1, 4, 4), torch.zeros(1, 3, 3)
    found = only(add_mask(add_mask(first, one), other)).masks
    assert found[0] is one
    assert found[1] is other
