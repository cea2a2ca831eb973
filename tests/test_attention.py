"""The fast image attention equals the plain formula, and the formula gives the recorded numbers."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from comfyui_ip_adapter.ip_adapter_core.adapter import KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention import image_attention, plain_image_attention
from golden import check, golden

HEADS = 3


def weight(name: str, *shape: int) -> Tensor:
    return golden(name, *shape).float()


def decoupled(scale: float) -> Tensor:
    """A whole layer by the plain formula, with golden weights."""
    x, text, image = (
        golden(f"input:{n}", *s).float() for n, s in (("x", (2, 7, 12)), ("ctx", (2, 5, 10)), ("c", (2, 4, 10)))
    )
    q = linear(x, weight("to_q.weight", 12, 12))
    k, v = linear(text, weight("to_k.weight", 12, 10)), linear(text, weight("to_v.weight", 12, 10))
    k_ip, v_ip = linear(image, weight("to_k_ip.weight", 12, 10)), linear(image, weight("to_v_ip.weight", 12, 10))
    z = plain_image_attention(q, k, v, HEADS) + scale * image_attention(q, KeysValues(k_ip, v_ip), HEADS)
    return linear(z, weight("to_out.0.weight", 12, 12), weight("to_out.0.bias", 12))


def test_without_weight_the_layer_gives_the_golden_numbers() -> None:
    check(
        decoupled(0.0), 4.392786680, 18.462224633, [0.008967311, -0.456745096, 0.131329904, -0.291907837], 0.321625113
    )


def test_decoupled_attention_gives_the_golden_numbers() -> None:
    check(
        decoupled(0.8), 4.949710139, 20.773517117, [-0.006280534, -0.410906051, 0.270463391, -0.268260783], 0.340818012
    )


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rows", [1, 2, 6])
@pytest.mark.parametrize("tokens", [1, 4, 16, 257])
def test_shared_rows_equal_repeated_rows(rows: int, tokens: int) -> None:
    q = random(6, 35, 24)
    image = KeysValues(random(rows, tokens, 24, seed=1), random(rows, tokens, 24, seed=2))
    repeated = (x.repeat_interleave(6 // rows, dim=0) for x in image)
    expected = plain_image_attention(q, *repeated, heads=4)
    torch.testing.assert_close(image_attention(q, image, 4), expected, atol=1e-5, rtol=0)


def test_a_single_token_is_added_whatever_the_query() -> None:
    image = KeysValues(random(2, 1, 24, seed=1), random(2, 1, 24, seed=2))
    found = image_attention(random(2, 9, 24), image, 4)
    torch.testing.assert_close(found, image.values.expand(2, 9, 24), atol=1e-6, rtol=0)


def test_the_order_of_tokens_does_not_matter() -> None:
    q, image = random(2, 9, 24), KeysValues(random(2, 5, 24, seed=1), random(2, 5, 24, seed=2))
    shuffled = KeysValues(*(x.flip(1) for x in image))
    torch.testing.assert_close(image_attention(q, shuffled, 4), image_attention(q, image, 4), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_result_has_the_dtype_of_the_query(dtype: torch.dtype) -> None:
    image = KeysValues(random(2, 4, 24, seed=1), random(2, 4, 24, seed=2))
    assert image_attention(random(2, 9, 24).to(dtype), image, 4).dtype == dtype
