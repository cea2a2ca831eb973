"""Image prompts and their application to a model's layers."""

import math
from pathlib import Path

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.adapter import Adapter, load
from comfyui_ip_adapter.ip_adapter_core.application import application
from comfyui_ip_adapter.ip_adapter_core.layout import FAMILIES, Layer
from comfyui_ip_adapter.ip_adapter_core.prompt import COND, UNCOND, Features, Reading, image_prompt
from comfyui_ip_adapter.ip_adapter_core.schedule import Span
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
    assert prompt.tokens.shape == (2, 1, 12, adapters.TINY_CONTEXT)
    for image in range(3):
        alone = adapter.tokens(cond[0][image : image + 1])
        torch.testing.assert_close(prompt.tokens[COND, :, 4 * image : 4 * image + 4], alone)


def test_the_uncond_side_repeats_the_blank_image(adapter: Adapter) -> None:
    prompt = image_prompt(adapter, embeds(2), BLANK)
    blank = adapter.tokens(*BLANK)
    assert torch.equal(prompt.tokens[UNCOND], torch.cat([blank, blank], dim=1))
    assert blank.abs().max() > 0  # projected zeros are no zero tokens


def test_keys_and_values_are_those_of_the_tokens(adapter: Adapter) -> None:
    prompt = image_prompt(adapter, embeds(1), BLANK)
    first = adapter.ip_adapter["1"]
    torch.testing.assert_close(prompt.keys_values[0].keys, prompt.tokens @ first.to_k_ip.weight.T)
    torch.testing.assert_close(prompt.keys_values[0].values, prompt.tokens @ first.to_v_ip.weight.T)
    assert len(prompt.keys_values) == len(adapters.TINY_WIDTHS)


def test_negative_images_are_dealt_out_in_turn(adapter: Adapter) -> None:
    negatives = embeds(2, seed=1)
    prompt = image_prompt(adapter, embeds(3), negatives)
    dealt = adapter.tokens(negatives[0][[0, 1, 0]]).reshape(1, 12, -1)
    torch.testing.assert_close(prompt.tokens[UNCOND], dealt)


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
        application(prompt, layers, 2048, 1.0, Span())


@pytest.mark.parametrize("weight", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_refused(adapter: Adapter, weight: float) -> None:
    prompt = image_prompt(adapter, embeds(1), BLANK)
    with pytest.raises(ValueError, match="must be a finite number"):
        application(prompt, TINY, adapters.TINY_CONTEXT, weight, Span())


def test_weight_zero_patches_no_layer(adapter: Adapter) -> None:
    prompt = image_prompt(adapter, embeds(1), BLANK)
    assert not application(prompt, TINY, adapters.TINY_CONTEXT, 0.0, Span()).layers


def test_the_weight_is_folded_into_the_values(adapter: Adapter) -> None:
    prompt = image_prompt(adapter, embeds(1), BLANK)
    used = application(prompt, TINY, adapters.TINY_CONTEXT, 0.25, Span())
    rows = used.rows(TINY[3], torch.tensor([UNCOND, COND]), torch.tensor([0, 0]))
    torch.testing.assert_close(rows.values[1], prompt.keys_values[3].values[COND, 0] * 0.25)
    torch.testing.assert_close(rows.keys[0], prompt.keys_values[3].keys[UNCOND, 0])
