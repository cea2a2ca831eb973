"""Attention that an image prompt shares with the picture: the formula, and the form that computes it."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import rms_norm

from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import HeadNorms, KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention.joint import (
    Joint,
    PictureQKV,
    joint_attention,
    plain_joint_attention,
)

HEADS, HEAD, PIXELS, TOKENS = 3, 8, 10, 5
WIDE = HEADS * HEAD


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def picture(batch: int) -> PictureQKV:
    return PictureQKV(*(draw(batch, PIXELS, WIDE, seed=seed) for seed in (1, 2, 3)))


def prompt(rows: int) -> KeysValues:
    return KeysValues(draw(rows, TOKENS, WIDE, seed=4), draw(rows, TOKENS, WIDE, seed=5))


def joint(weight: Tensor) -> Joint:
    return Joint(HeadNorms(1 + 0.2 * draw(HEAD, seed=6), 1 + 0.2 * draw(HEAD, seed=7)), weight)


def test_the_plain_formula_is_one_softmax_over_the_picture_and_the_images() -> None:
    """Pixel by pixel, head by head."""
    (q, k, v), (keys, values), how = picture(1), prompt(1), joint(torch.full((1, 1, 1), 0.7))
    found = plain_joint_attention(PictureQKV(q, k, v), KeysValues(keys, values), how, HEADS)
    for head in range(HEADS):
        part = slice(head * HEAD, (head + 1) * HEAD)
        for pixel in range(PIXELS):
            query = q[0, pixel, part] * how.norms.queries
            all_keys = torch.cat([k[0, :, part] * how.norms.keys, keys[0, :, part]])
            shares = (all_keys @ query / HEAD**0.5).softmax(0)
            expected = 0.7 * shares @ torch.cat([v[0, :, part], values[0, :, part]])
            assert torch.allclose(found[0, pixel, part], expected, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize("weights", [1, 2])
@pytest.mark.parametrize("biased", [False, True])
def test_shared_rows_equal_the_plain_formula(rows: int, weights: int, biased: bool) -> None:
    weight = torch.tensor([0.4, 1.3])[:weights, None, None]
    bias = torch.tensor([0.0, 0.7, -0.3, 0.0, 1.1]) if biased else None
    found = joint_attention(picture(4), prompt(rows), joint(weight), HEADS, bias)
    repeated = KeysValues(*(part.repeat_interleave(4 // rows, dim=0) for part in prompt(rows)))
    each = joint(weight.repeat_interleave(4 // weights, dim=0))
    assert torch.allclose(found, plain_joint_attention(picture(4), repeated, each, HEADS, bias), atol=1e-5)


def test_a_weight_of_0_adds_nothing() -> None:
    assert not joint_attention(picture(2), prompt(2), joint(torch.zeros(1, 1, 1)), HEADS).any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_result_has_the_dtype_of_the_query(dtype: torch.dtype) -> None:
    half = PictureQKV(*(rms_norm(part, (WIDE,)).to(dtype) for part in picture(2)))
    found = joint_attention(half, prompt(1), joint(torch.ones(1, 1, 1)), HEADS)
    assert found.dtype == dtype
    exact = joint_attention(PictureQKV(*(part.float() for part in half)), prompt(1), joint(torch.ones(1, 1, 1)), HEADS)
    assert torch.allclose(found.float(), exact, atol=0.05)
