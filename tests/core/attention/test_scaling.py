"""Scalings against their formulas, written out with plain attention."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention.reference import image_attention, plain_image_attention
from comfyui_ip_adapter.ip_adapter_core.attention.scaling import SCALINGS, scale_each, scale_kv
from drawn import draw

HEADS, ROWS, TOKENS, PIXELS = 4, 3, 5, 7
WIDTHS = (24, 320, 640, 1280)

each_scaling = pytest.mark.parametrize("scaling", SCALINGS)
each_width = pytest.mark.parametrize("width", WIDTHS)

Formula = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def attention(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return plain_image_attention(q, keys, values, HEADS)


def penalised(weight: float, keys: Tensor) -> float:
    return weight * keys.shape[-1] / 1280


def with_mean(q: Tensor, keys: Tensor, values: Tensor, weight: float) -> Tensor:
    mean, w = values.mean(1, keepdim=True), penalised(weight, keys)
    return attention(q, w * keys, (values - mean) + w * mean)


FORMULAS: dict[str, Formula] = {
    "V only": lambda q, k, v, w: w * attention(q, k, v),
    "K+V": lambda q, k, v, w: attention(q, w * k, w * v),
    "K+V w/ C penalty": lambda q, k, v, w: attention(q, penalised(w, k) * k, penalised(w, k) * v),
    "K+mean(V) w/ C penalty": with_mean,
}


def query(width: int) -> Tensor:
    return draw(ROWS, PIXELS, width, seed=0)


def image(width: int) -> KeysValues:
    return KeysValues(draw(ROWS, TOKENS, width, seed=1), draw(ROWS, TOKENS, width, seed=2))


def test_every_scaling_has_its_formula_here() -> None:
    assert SCALINGS.keys() == FORMULAS.keys()


@each_scaling
@each_width
@pytest.mark.parametrize("weight", [0.8, -0.5, 2.5])
def test_a_scaling_is_its_formula(scaling: str, width: int, weight: float) -> None:
    found = image_attention(query(width), scale_kv(image(width), weight, scaling), HEADS)
    expected = FORMULAS[scaling](query(width), *image(width), weight)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert found.abs().max() > 1e-3


@each_scaling
@each_width
def test_rows_may_have_weights_of_their_own(scaling: str, width: int) -> None:
    weights = (0.8, 0.0, -1.5)
    found = scale_kv(image(width), torch.tensor(weights)[:, None, None], scaling)
    for row, weight in enumerate(weights):
        alone = scale_kv(KeysValues(*(part[row : row + 1] for part in image(width))), weight, scaling)
        for ours, theirs in zip(found, alone, strict=True):
            torch.testing.assert_close(ours[row : row + 1], theirs, atol=1e-6, rtol=1e-6)


@each_scaling
@pytest.mark.parametrize("weight", [0.7, torch.tensor([0.8, 0.0, -1.5])[:, None, None]])
def test_of_several_images_each_can_be_scaled_as_if_it_were_alone(scaling: str, weight: float | Tensor) -> None:
    first, second = image(24), KeysValues(*(part + 1 for part in image(24)))
    both = KeysValues(*(torch.cat(parts, dim=1) for parts in zip(first, second, strict=True)))
    alone = [scale_kv(one, weight, scaling) for one in (first, second)]
    for found, *wanted in zip(scale_each(both, weight, scaling, 2), *alone, strict=True):
        torch.testing.assert_close(found, torch.cat(wanted, dim=1), atol=1e-6, rtol=1e-6)


@each_scaling
def test_weight_zero_adds_nothing_at_all(scaling: str) -> None:
    number = image_attention(query(24), scale_kv(image(24), 0.0, scaling), HEADS)
    rows = image_attention(query(24), scale_kv(image(24), torch.zeros(ROWS, 1, 1), scaling), HEADS)
    assert not number.any()
    assert not rows.any()


@each_scaling
def test_at_the_widest_layers_weight_one_changes_nothing(scaling: str) -> None:
    for found, given in zip(scale_kv(image(1280), 1.0, scaling), image(1280), strict=True):
        torch.testing.assert_close(found, given, atol=1e-5, rtol=0)


@each_scaling
def test_shapes_and_dtype_are_kept_and_what_is_given_is_not_changed(scaling: str) -> None:
    given = KeysValues(*(part.bfloat16() for part in image(24)))
    before = [part.clone() for part in given]
    for weight in (0.0, 0.7, torch.full((ROWS, 1, 1), 0.7, dtype=torch.bfloat16)):
        found = scale_kv(given, weight, scaling)
        assert [(part.shape, part.dtype) for part in found] == [(part.shape, part.dtype) for part in given]
    assert all(map(torch.equal, given, before))


@each_scaling
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weight", [0.7, torch.tensor([0.7, 0.0, -1.3])[:, None, None]])
def test_halves_are_rounded_once(scaling: str, dtype: torch.dtype, weight: float | Tensor) -> None:
    given = KeysValues(*(part.to(dtype) for part in image(320)))
    exact = scale_kv(KeysValues(*(part.double() for part in given)), weight, scaling)
    for found, expected in zip(scale_kv(given, weight, scaling), exact, strict=True):
        assert (found != expected.to(dtype)).float().mean() < 0.002  # fp32 is not fp64 where two halves are as near
