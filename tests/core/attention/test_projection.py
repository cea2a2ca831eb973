"""PuLID's methods: the fast form is the formula, zeros take attention, and what the text says is turned away."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention.projection import (
    AUTO,
    METHODS,
    NEUTRAL,
    bias_with_zeros,
    plain_turned,
    turn_away,
    with_zeros,
)
from comfyui_ip_adapter.ip_adapter_core.attention.reference import image_attention, plain_image_attention
from drawn import draw

BATCH, PIXELS, INNER, HEADS, TOKENS = 4, 30, 24, 3, 10
TEXT, Q = draw(BATCH, PIXELS, INNER, seed=9), draw(BATCH, PIXELS, INNER, seed=1)
KV = KeysValues(draw(2, TOKENS, INNER, seed=2), draw(2, TOKENS, INNER, seed=3))


def share_of_first_five(q: Tensor, keys: Tensor) -> Tensor:
    """m of one row, head after head: (pixels, 1)."""
    shares = []
    for head in range(HEADS):
        part = slice(head * INNER // HEADS, (head + 1) * INNER // HEADS)
        shares.append((q[:, part] @ keys[:, part].T).softmax(-1)[:, :5].sum(-1))
    return torch.stack(shares).mean(0)[:, None]


KEPT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "fidelity": share_of_first_five,
    "editable": share_of_first_five,
    "style": lambda q, keys: torch.zeros(len(q), 1),
    "neutral": lambda q, keys: torch.ones(len(q), 1),
}
ZEROS = {"fidelity": 8, "editable": 20, "style": 16, "neutral": 0}
each_method = pytest.mark.parametrize("method", METHODS)


def test_every_method_has_its_formula_here() -> None:
    assert METHODS.keys() == KEPT.keys() == ZEROS.keys()
    assert {name: row.zeros for name, row in METHODS.items()} == ZEROS
    assert AUTO not in METHODS


def seen(method: str) -> tuple[Tensor, Tensor]:
    """S, and K' of each row of the batch: neighbours share a row."""
    kv = with_zeros(KV, method)
    return image_attention(Q, kv, HEADS), kv.keys


@each_method
def test_what_is_added_is_the_formula(method: str) -> None:
    added, keys = seen(method)
    rows = keys.repeat_interleave(2, dim=0)
    kept = torch.stack([KEPT[method](q, one) for q, one in zip(Q, rows, strict=True)])
    found = turn_away(TEXT, added, Q, keys, HEADS, method)
    torch.testing.assert_close(found, plain_turned(TEXT, added, kept), atol=1e-5, rtol=1e-5)
    assert (torch.equal(found, added)) == (method == NEUTRAL)


@each_method
def test_zeros_stand_behind_the_tokens_and_take_attention(method: str) -> None:
    keys, values = with_zeros(KV, method)
    assert keys.shape[1] == TOKENS + ZEROS[method]
    assert torch.equal(keys[:, :TOKENS], KV.keys)
    assert not keys[:, TOKENS:].any()
    assert not values[:, TOKENS:].any()
    found = image_attention(Q, KeysValues(keys, values), HEADS)
    wanted = plain_image_attention(Q, *(part.repeat_interleave(2, dim=0) for part in (keys, values)), HEADS)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_bias_counts_each_zero_once() -> None:
    found = bias_with_zeros(torch.full((TOKENS,), 2.0), "fidelity")
    assert found is not None
    assert found.tolist() == [2.0] * TOKENS + [0.0] * 8
    assert bias_with_zeros(None, "fidelity") is None


def test_style_leaves_nothing_of_the_text_in_any_channel() -> None:
    found = turn_away(TEXT, *seen("style")[:1], Q, seen("style")[1], HEADS, "style")
    assert (TEXT * found).sum(1).abs().max() < 1e-4
    assert (TEXT * seen("style")[0]).sum(1).abs().max() > 0.1


def test_it_is_linear_in_the_weight_and_nothing_stays_nothing() -> None:
    added, keys = seen("fidelity")
    one, half = (turn_away(TEXT, added * weight, Q, keys, HEADS, "fidelity") for weight in (1.0, 0.5))
    torch.testing.assert_close(one * 0.5, half)
    assert not turn_away(TEXT, added * 0, Q, keys, HEADS, "fidelity").any()


def test_a_text_that_says_nothing_is_turned_from_without_a_division_by_zero() -> None:
    added, keys = seen("style")
    assert torch.equal(turn_away(torch.zeros_like(TEXT), added, Q, keys, HEADS, "style"), added)


def test_half_precision_is_rounded_once() -> None:
    added, keys = seen("fidelity")
    halves = [part.half() for part in (TEXT * 60, added, Q, keys)]
    found = turn_away(*halves, HEADS, "fidelity")
    wanted = turn_away(*(part.float() for part in halves), HEADS, "fidelity")
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, wanted.half())
