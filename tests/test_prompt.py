"""Image prompts and their application to a model's layers."""

import math
from pathlib import Path

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.adapter import Adapter, load
from comfyui_ip_adapter.ip_adapter_core.application import Use, applications
from comfyui_ip_adapter.ip_adapter_core.layout import FAMILIES, Layer
from comfyui_ip_adapter.ip_adapter_core.prompt import COND, UNCOND, Features, Reading, image_prompt
from fabricate import adapters

TINY = tuple(Layer("input", block, 0, width) for block, width in enumerate(adapters.TINY_WIDTHS))


@pytest.fixture
def adapter(tmp_path: Path) -> Adapter:
    return load(adapters.save(tmp_path / "a.safetensors", adapters.adapter()))


BLANK = (torch.zeros(1, 32),)


def embeds(images: int, seed: int = 0) -> Reading:
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
    with pytest.raises(ValueError, match=r"reads embeds of width 32 .*; the connected bigG gives 1280\. Load"):
        features.read_by(adapter.identity(), "bigG")


def test_an_adapter_for_another_model_is_refused_naming_both(adapter: Adapter) -> None:
    prompt = image_prompt(adapter, embeds(1), BLANK)
    layers = tuple(Layer("input", n, 0, width) for n, width in enumerate(FAMILIES["SDXL"].widths))
    with pytest.raises(ValueError, match=r"context 64\); the model is SDXL \(70 layers, context 2048\)"):
        applications(prompt, layers, 2048)


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_refused(adapter: Adapter, weight: float) -> None:
    prompt = image_prompt(adapter, embeds(1), BLANK)
    with pytest.raises(ValueError, match="must be a finite number"):
        applications(prompt, TINY, adapters.TINY_CONTEXT, Use(weight))


def test_weight_zero_patches_no_layer(adapter: Adapter) -> None:
    prompt = image_prompt(adapter, embeds(1), BLANK)
    assert not applications(prompt, TINY, adapters.TINY_CONTEXT, Use(0.0))
