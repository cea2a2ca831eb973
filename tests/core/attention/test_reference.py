"""The fast image attention equals the plain formula, and the formula gives the recorded numbers."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention.reference import apply_mask, image_attention, plain_image_attention
from comfyui_ip_adapter.ip_adapter_core.attention.scaling import scale_kv
from drawn import draw
from golden import check, golden

HEADS = 3


def weight(name: str, *shape: int) -> Tensor:
    return golden(name, *shape).float()


def decoupled(scale: float, scaling: str = "V only") -> Tensor:
    """A whole layer by the plain formula, with golden weights."""
    x, text, image = (
        golden(f"input:{n}", *s).float() for n, s in (("x", (2, 7, 12)), ("ctx", (2, 5, 10)), ("c", (2, 4, 10)))
    )
    q = linear(x, weight("to_q.weight", 12, 12))
    k, v = linear(text, weight("to_k.weight", 12, 10)), linear(text, weight("to_v.weight", 12, 10))
    k_ip, v_ip = linear(image, weight("to_k_ip.weight", 12, 10)), linear(image, weight("to_v_ip.weight", 12, 10))
    added = image_attention(q, scale_kv(KeysValues(k_ip, v_ip), scale, scaling), HEADS)
    z = plain_image_attention(q, k, v, HEADS) + added
    return linear(z, weight("to_out.0.weight", 12, 12), weight("to_out.0.bias", 12))


@pytest.mark.parametrize("scaling", ["V only", "K+V", "K+V w/ C penalty", "K+mean(V) w/ C penalty"])
def test_without_weight_the_layer_gives_the_golden_numbers(scaling: str) -> None:
    first = [0.008967311, -0.456745096, 0.131329904, -0.291907837]
    check(decoupled(0.0, scaling), 4.392786680, 18.462224633, first, 0.321625113)


@pytest.mark.parametrize(
    ("scaling", "total", "squares", "first", "last"),
    [
        ("V only", 4.949710139, 20.773517117, [-0.006280534, -0.410906051, 0.270463391, -0.268260783], 0.340818012),
        ("K+V", 4.949884441, 20.767648453, [-0.007666659, -0.415197923, 0.268511142, -0.269545443], 0.340545104),
        (
            "K+V w/ C penalty",
            4.397978562,
            18.478997226,
            [0.008758039, -0.456517763, 0.132541247, -0.291747687],
            0.321793823,
        ),
        (
            "K+mean(V) w/ C penalty",
            4.398051070,
            18.478866968,
            [0.008826461, -0.456312606, 0.132636763, -0.291684068],
            0.321803264,
        ),
    ],
)
def test_decoupled_attention_gives_the_golden_numbers(
    scaling: str, total: float, squares: float, first: list[float], last: float
) -> None:
    check(decoupled(0.8, scaling), total, squares, first, last)


@pytest.mark.parametrize("rows", [1, 2, 6])
@pytest.mark.parametrize("tokens", [1, 4, 16, 257])
def test_shared_rows_equal_repeated_rows(rows: int, tokens: int) -> None:
    q = draw(6, 35, 24)
    image = KeysValues(draw(rows, tokens, 24, seed=1), draw(rows, tokens, 24, seed=2))
    repeated = (x.repeat_interleave(6 // rows, dim=0) for x in image)
    expected = plain_image_attention(q, *repeated, heads=4)
    torch.testing.assert_close(image_attention(q, image, 4), expected, atol=1e-5, rtol=0)


def test_a_single_token_is_added_whatever_the_query() -> None:
    image = KeysValues(draw(2, 1, 24, seed=1), draw(2, 1, 24, seed=2))
    found = image_attention(draw(2, 9, 24), image, 4)
    torch.testing.assert_close(found, image.values.expand(2, 9, 24), atol=1e-6, rtol=0)


def test_the_order_of_tokens_does_not_matter() -> None:
    q, image = draw(2, 9, 24), KeysValues(draw(2, 5, 24, seed=1), draw(2, 5, 24, seed=2))
    shuffled = KeysValues(*(x.flip(1) for x in image))
    torch.testing.assert_close(image_attention(q, shuffled, 4), image_attention(q, image, 4), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_result_has_the_dtype_of_the_query(dtype: torch.dtype) -> None:
    image = KeysValues(draw(2, 4, 24, seed=1), draw(2, 4, 24, seed=2))
    assert image_attention(draw(2, 9, 24).to(dtype), image, 4).dtype == dtype


# How often a token counts


COUNTS = torch.tensor([2.0, 1.0, 0.5, 3.0, 1.0])


@pytest.mark.parametrize("rows", [1, 2, 6])
def test_shared_rows_equal_the_plain_formula_where_tokens_count_differently(rows: int) -> None:
    q, attn_bias = draw(6, 35, 24), COUNTS.log()
    image = KeysValues(draw(rows, 5, 24, seed=1), draw(rows, 5, 24, seed=2))
    repeated = (x.repeat_interleave(6 // rows, dim=0) for x in image)
    expected = plain_image_attention(q, *repeated, heads=4, attn_bias=attn_bias)
    torch.testing.assert_close(image_attention(q, image, 4, attn_bias), expected, atol=1e-5, rtol=0)
    assert (expected - image_attention(q, image, 4)).abs().max() > 0.01


def test_tokens_count_as_often_as_they_are_said_to() -> None:
    """Against the softmax written out, Σ n·exp(s)·v / Σ n·exp(s), in one head."""
    q, keys, values = draw(2, 9, 24), draw(2, 5, 24, seed=1), draw(2, 5, 24, seed=2)
    shares = COUNTS * (torch.einsum("bqc,btc->bqt", q, keys) / math.sqrt(24)).exp()
    expected = torch.einsum("bqt,btc->bqc", shares, values) / shares.sum(-1, keepdim=True)
    found = plain_image_attention(q, keys, values, 1, COUNTS.log())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_token_that_counts_twice_equals_the_token_given_twice() -> None:
    q, image = draw(2, 9, 24), KeysValues(draw(2, 3, 24, seed=1), draw(2, 3, 24, seed=2))
    given = KeysValues(*(torch.cat([x, x[:, :1]], dim=1) for x in image))
    found = image_attention(q, image, 4, torch.tensor([2.0, 1.0, 1.0]).log())
    torch.testing.assert_close(found, image_attention(q, given, 4), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tokens_that_all_count_alike_change_nothing(dtype: torch.dtype) -> None:
    q, image = draw(2, 9, 24).to(dtype), KeysValues(draw(2, 5, 24, seed=1), draw(2, 5, 24, seed=2))
    found = image_attention(q, image, 4, torch.full((5,), 3.0).log())
    assert found.dtype == dtype
    torch.testing.assert_close(
        found, image_attention(q, image, 4), atol=1e-2 if dtype != torch.float32 else 1e-6, rtol=0
    )


# Where it acts


@pytest.mark.parametrize("rows", [1, 2, 6])
def test_a_mask_multiplies_every_pixel_of_the_rows_that_share_it(rows: int) -> None:
    added, mask = draw(6, 9, 24), torch.rand(rows, 9, 1, generator=torch.Generator().manual_seed(1))
    found = apply_mask(added, mask)
    for row in range(6):
        for pixel in range(9):
            torch.testing.assert_close(found[row, pixel], added[row, pixel] * mask[row * rows // 6, pixel, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_white_mask_leaves_all_and_a_black_one_nothing(dtype: torch.dtype) -> None:
    added = draw(4, 9, 24).to(dtype)
    assert torch.equal(apply_mask(added, torch.ones(2, 9, 1)), added)
    assert not apply_mask(added, torch.zeros(1, 9, 1)).any()
    assert apply_mask(added, torch.zeros(1, 9, 1)).dtype == dtype
