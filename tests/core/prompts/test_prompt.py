"""Image prompts and their application to a model's layers."""

import math
from pathlib import Path

import pytest
import torch

from attended import TINY, attended
from comfyui_ip_adapter.ip_adapter_core.adapters.adapter import Adapter
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.attention.application import ApplyOptions, applications
from comfyui_ip_adapter.ip_adapter_core.layers.families import FAMILIES
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import Gathering
from comfyui_ip_adapter.ip_adapter_core.prompts.features import AdapterInputs, Features
from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND, PromptPart, image_prompt
from fabricate import adapters

BLANK = (torch.zeros(1, 32),)


def embeds(images: int, seed: int = 0) -> AdapterInputs:
    return (torch.randn(images, 32, generator=torch.Generator().manual_seed(seed)),)


def test_images_stand_side_by_side_in_one_prompt(adapter: Adapter) -> None:
    cond = embeds(3)
    prompt = image_prompt(adapter, cond, BLANK)
    (part,) = prompt.parts
    assert part.side(COND).shape == part.side(UNCOND).shape == (1, 12, adapters.TINY_CONTEXT)
    for image in range(3):
        alone = adapter.tokens(cond[0][image : image + 1])
        torch.testing.assert_close(part.side(COND)[:, 4 * image : 4 * image + 4], alone)


def test_the_uncond_side_repeats_the_blank_image(adapter: Adapter) -> None:
    (part,) = image_prompt(adapter, embeds(2), BLANK).parts
    blank = adapter.tokens(*BLANK)
    assert torch.equal(part.side(UNCOND), torch.cat([blank, blank], dim=1))
    assert blank.abs().max() > 0  # projected zeros are no zero tokens


def test_keys_and_values_are_those_of_the_tokens(adapter: Adapter) -> None:
    (part,) = image_prompt(adapter, embeds(1), BLANK).parts
    first = adapter.ip_adapter["1"]
    torch.testing.assert_close(part.keys_values[0].keys, part.tokens @ first.to_k_ip.weight.T)
    torch.testing.assert_close(part.keys_values[0].values, part.tokens @ first.to_v_ip.weight.T)
    assert len(part.keys_values) == len(adapters.TINY_WIDTHS)


def test_negative_images_are_dealt_out_in_turn(adapter: Adapter) -> None:
    negatives = embeds(2, seed=1)
    (part,) = image_prompt(adapter, embeds(3), negatives).parts
    dealt = adapter.tokens(negatives[0][[0, 1, 0]]).reshape(1, 12, -1)
    torch.testing.assert_close(part.side(UNCOND), dealt)


def test_more_negative_images_than_images_are_refused(adapter: Adapter) -> None:
    with pytest.raises(ValueError, match="2 negative images for 1 images"):
        image_prompt(adapter, embeds(1), embeds(2))


def test_the_wrong_encoder_is_named_with_both_widths(adapter: Adapter) -> None:
    features = Features(torch.zeros(1, 1280), torch.zeros(1, 257, 1664))
    with pytest.raises(ValueError, match=r"^Load .* the connected bigG: .* embeds of width 32, and that gives 1280\."):
        features.select_for(adapter.identity(), "bigG")


def test_an_adapter_for_another_model_is_refused_naming_both(adapter: Adapter) -> None:
    prompt = image_prompt(adapter, embeds(1), BLANK)
    layers = tuple(Layer("input", n, 0, width, 1) for n, width in enumerate(FAMILIES["SDXL"].widths))
    with pytest.raises(ValueError, match=r"context 64\); the model is SDXL \(70 layers, context 2048\)"):
        applications(prompt, layers, 2048)


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_refused(adapter: Adapter, weight: float) -> None:
    prompt = image_prompt(adapter, embeds(1), BLANK)
    with pytest.raises(ValueError, match="Set weight to a finite number"):
        applications(prompt, TINY, adapters.TINY_CONTEXT, ApplyOptions(weight))


def test_weight_zero_patches_no_layer(adapter: Adapter) -> None:
    prompt = image_prompt(adapter, embeds(1), BLANK)
    assert not applications(prompt, TINY, adapters.TINY_CONTEXT, ApplyOptions(0.0))


# Several images under one softmax


def difference(one: PromptPart, other: PromptPart) -> float:
    pairs = (zip(attended(one, side), attended(other, side), strict=True) for side in (COND, UNCOND))
    return max(float((a - b).abs().max()) for pair in pairs for a, b in pair)


def concatenated(adapter: Adapter, cond: torch.Tensor, negatives: torch.Tensor, *weights: float) -> PromptPart:
    (part,) = image_prompt(adapter, (cond,), (negatives,), Gathering(weights=weights)).parts
    return part


def test_under_one_softmax_weight_two_is_the_image_given_twice(adapter: Adapter) -> None:
    (cond,), (negatives,) = embeds(2), embeds(2, seed=1)
    weighed = concatenated(adapter, cond, negatives, 2.0, 1.0)
    twice = concatenated(adapter, cond[[0, 0, 1]], negatives[[0, 0, 1]])
    assert difference(weighed, twice) < 1e-5
    assert difference(weighed, concatenated(adapter, cond, negatives)) > 0.01


def test_under_one_softmax_only_the_proportion_of_weights_counts(adapter: Adapter) -> None:
    (cond,), (blank,) = embeds(3), BLANK
    one, other = (concatenated(adapter, cond, blank, *weights) for weights in ((1, 0.5, 2), (0.5, 0.25, 1)))
    assert difference(one, other) < 1e-5


@pytest.mark.parametrize("weight", [0.25, 1.0, 3.0])
def test_images_that_all_weigh_the_same_change_nothing(adapter: Adapter, weight: float) -> None:
    (cond,), (blank,) = embeds(3), BLANK
    weighed = concatenated(adapter, cond, blank, weight, weight, weight)
    assert weighed.attn_bias is None
    assert difference(weighed, concatenated(adapter, cond, blank)) == 0


# A mask for each image


def masks(images: int) -> torch.Tensor:
    return torch.rand(images, 6, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("how", ["concat", "separate"])
def test_masked_images_are_each_a_prompt_of_its_own_in_its_place(adapter: Adapter, how: str) -> None:
    (cond,), (negatives,), places = embeds(3), embeds(2, seed=1), masks(3)
    prompt = image_prompt(adapter, (cond,), (negatives,), Gathering(how, (1.0, 0.5, -0.5), places))
    assert len(prompt.parts) == 3
    for index, (part, weight) in enumerate(zip(prompt.parts, (1.0, 0.5, -0.5), strict=True)):
        row = index % 2
        (alone,) = image_prompt(adapter, (cond[index : index + 1],), (negatives[row : row + 1],)).parts
        assert difference(part, alone) < 1e-5
        assert part.weights == (weight,)
        (place,) = part.masks
        assert torch.equal(place, places[index : index + 1])


def test_a_mask_is_left_out_with_its_image(adapter: Adapter) -> None:
    prompt = image_prompt(adapter, embeds(3), BLANK, Gathering(weights=(1.0, 0.0, 1.0), masks=masks(3)))
    assert [part.masks[0].tolist() for part in prompt.parts] == [masks(3)[[row]].tolist() for row in (0, 2)]


def test_a_single_image_may_have_a_mask_in_every_way_that_keeps_it_apart(adapter: Adapter) -> None:
    for how in ("concat", "separate", "one per frame"):
        (part,) = image_prompt(adapter, embeds(1), BLANK, Gathering(how, masks=masks(1))).parts
        assert torch.equal(part.masks[0], masks(1))


# One image for each frame


def framed(adapter: Adapter, uncond: AdapterInputs, *weights: float, places: torch.Tensor | None = None) -> PromptPart:
    (part,) = image_prompt(adapter, embeds(3), uncond, Gathering("one per frame", weights, places)).parts
    return part


def test_every_frame_reads_its_own_image(adapter: Adapter) -> None:
    part = framed(adapter, BLANK)
    assert part.frames == 3
    torch.testing.assert_close(part.side(COND), adapter.tokens(*embeds(3)), atol=1e-5, rtol=0)
    for index in range(3):
        (alone,) = image_prompt(adapter, (embeds(3)[0][index : index + 1],), BLANK).parts
        for ours, theirs in zip(part.keys_values, alone.keys_values, strict=True):
            for side in (COND, UNCOND):
                found, expected = ours.keys[part.row_index[side, index]], theirs.keys[alone.row_index[side, 0]]
                torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_blank_image_of_all_frames_is_stored_once(adapter: Adapter) -> None:
    part = framed(adapter, BLANK)
    assert len(part.tokens) == 4
    assert all(len(pair.keys) == len(pair.values) == 4 for pair in part.keys_values)
    assert part.row_index.tolist() == [[0, 1, 2], [3, 3, 3]]
    torch.testing.assert_close(part.side(UNCOND), adapter.tokens(*BLANK).expand(3, -1, -1), atol=1e-5, rtol=0)


def test_negative_images_are_dealt_out_to_the_frames(adapter: Adapter) -> None:
    negatives = embeds(2, seed=1)
    part = framed(adapter, negatives)
    assert part.row_index.tolist() == [[0, 1, 2], [3, 4, 3]]
    torch.testing.assert_close(part.side(UNCOND), adapter.tokens(negatives[0][[0, 1, 0]]), atol=1e-5, rtol=0)


def test_frames_have_weights_and_masks_of_their_own(adapter: Adapter) -> None:
    part = framed(adapter, BLANK, 1.0, 0.0, 0.5, places=masks(3))
    assert part.weights == (1.0, 0.0, 0.5)
    assert torch.equal(part.masks[0], masks(3))
    assert part.attn_bias is None
    assert framed(adapter, BLANK, 0.5, 0.5, 0.5).weights == (0.5,)


# References that are read in part


@pytest.fixture(scope="module")
def resampler(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    file = tmp_path_factory.mktemp("adapters") / "plus.safetensors"
    return load(adapters.save(file, adapters.adapter(**adapters.KINDS["plus"])))


KEPT = torch.tensor([[False, True, True, False, True], [False, False, False, True, False]])


def hidden(images: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(images, 5, 64, generator=torch.Generator().manual_seed(seed))


def alone(resampler: Adapter, image: int) -> torch.Tensor:
    """Tokens of one image, of which nothing else is there than what is kept."""
    return resampler.tokens(hidden(2)[image : image + 1, KEPT[image]])


@pytest.mark.parametrize("how", ["concat", "separate", "one per frame"])
def test_what_is_kept_follows_its_image_in_every_way_that_keeps_it_apart(resampler: Adapter, how: str) -> None:
    blank = hidden(1, seed=1)
    prompt = image_prompt(resampler, (hidden(2), KEPT), (blank,), Gathering(how))
    found = torch.cat([part.side(COND).reshape(-1, 16, adapters.TINY_CONTEXT) for part in prompt.parts])
    torch.testing.assert_close(found, torch.cat([alone(resampler, 0), alone(resampler, 1)]), atol=1e-5, rtol=0)
    of_blank = prompt.parts[0].side(UNCOND)[0, :16]
    torch.testing.assert_close(of_blank, resampler.tokens(blank)[0], atol=1e-5, rtol=0)


def test_what_is_kept_is_left_out_with_its_image(resampler: Adapter) -> None:
    prompt = image_prompt(resampler, (hidden(2), KEPT), (hidden(1, seed=1),), Gathering(weights=(0.0, 1.0)))
    torch.testing.assert_close(prompt.parts[0].side(COND), alone(resampler, 1), atol=1e-5, rtol=0)


def test_of_a_mixture_is_read_what_is_kept_of_any_image(resampler: Adapter) -> None:
    prompt = image_prompt(resampler, (hidden(2), KEPT), (hidden(1, seed=1),), Gathering("average"))
    expected = resampler.tokens(hidden(2).mean(0, keepdim=True)[:, [1, 2, 3, 4]])
    torch.testing.assert_close(prompt.parts[0].side(COND), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "takes"), [("plus", True), ("full face", False)])
def test_only_selective_adapters_are_told_what_is_kept(tmp_path: Path, kind: str, takes: bool) -> None:
    identity = load(adapters.save(tmp_path / "a.bin", adapters.adapter(**adapters.KINDS[kind]))).identity()
    features = Features(hidden=hidden(2), kept=KEPT)
    assert len(features.select_for(identity, "tower")) == 1 + takes
    assert len(features._replace(kept=None).select_for(identity, "tower")) == 1


# Adapters whose tokens the base model projects first


def test_keys_and_values_of_projected_tokens_are_made_when_the_model_is_known(tmp_path: Path) -> None:
    nested = adapters.adapter(**adapters.KINDS["Kolors FaceID-Plus"])
    network = load(adapters.save(tmp_path / "Kolors-IP-Adapter-FaceID-Plus.safetensors", nested))
    cond = (torch.randn(2, 512), torch.randn(2, 7, 64))
    blank = (torch.zeros(1, 512), torch.zeros(1, 7, 64))
    prompt = image_prompt(network, cond, blank, Gathering(weights=(2.0, 1.0)))
    assert prompt.parts[0].keys_values == ()
    widening = torch.randn(128, adapters.TINY_CONTEXT)
    projected = prompt.with_text_projection(lambda tokens: tokens @ widening)
    (before,), (part,) = prompt.parts, projected.parts
    torch.testing.assert_close(part.tokens, before.tokens @ widening)
    for found, expected in zip(part.keys_values, network.keys_values(part.tokens), strict=True):
        torch.testing.assert_close(found.keys, expected.keys)
        torch.testing.assert_close(found.values, expected.values)
    assert part.attn_bias is before.attn_bias
    assert projected.make_keys_values is None


def test_prompts_of_other_adapters_are_not_projected(adapter: Adapter) -> None:
    prompt = image_prompt(adapter, embeds(1), BLANK)
    assert prompt.with_text_projection(lambda tokens: tokens * 0) is prompt


# How many images a row is of


@pytest.mark.parametrize(
    ("how", "images"),
    [("concat", [3]), ("separate", [1, 1, 1]), ("one per frame", [1]), ("average", [1])],
)
def test_a_part_tells_how_many_images_stand_under_its_softmax(adapter: Adapter, how: str, images: list[int]) -> None:
    prompt = image_prompt(adapter, embeds(3), BLANK, Gathering(how))
    assert [part.images for part in prompt.parts] == images
    assert all(part.tokens.shape[1] == 4 * part.images for part in prompt.parts)


def test_embeddings_of_patches_are_refused(adapter: Adapter) -> None:
    """As ComfyUI's own SigLIP gives them."""
    features = Features(torch.zeros(1, 729, 32))
    with pytest.raises(ValueError, match=r"^Load .* with Load CLIP Vision .*, and tower gives .* 729 patches\.$"):
        features.select_for(adapter.identity(), "tower")
