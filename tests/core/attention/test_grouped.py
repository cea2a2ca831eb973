"""The grouped product equals an attention for each image prompt, added one after the other."""

from itertools import product

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention.grouped import (
    FORM_OF,
    FORMS,
    MAX_TOGETHER,
    MAX_TOKENS,
    GroupedKV,
    ImageKV,
    add_grouped_,
    group_images,
)
from comfyui_ip_adapter.ip_adapter_core.attention.reference import apply_mask, image_attention, plain_image_attention
from comfyui_ip_adapter.ip_adapter_core.settings.masks import pyramid
from drawn import draw

HEADS, INNER, GRID = 4, 24, (6, 5)
PIXELS = GRID[0] * GRID[1]
HALVES = (torch.float16, torch.bfloat16)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The form that stacks of this test have."""
    monkeypatch.setitem(FORM_OF, "cpu", request.param)
    return str(request.param)


def image(rows: int, tokens: int, seed: int, attn_bias: bool = False, mask_rows: int = 0) -> ImageKV:
    pair = KeysValues(draw(rows, tokens, INNER, seed=seed), draw(rows, tokens, INNER, seed=seed + 100))
    mask = draw(mask_rows, *GRID, seed=seed + 200).sigmoid() if mask_rows else None
    return ImageKV(pair, draw(tokens, seed=seed) if attn_bias else None, None if mask is None else pyramid(mask))


def one_stack(images: list[ImageKV], form: str) -> GroupedKV:
    """All images in a stack of this form."""
    (stack,) = group_images(images, HEADS)
    assert isinstance(stack, GroupedKV)
    assert stack.form == form
    return stack


def one_by_one(text: Tensor, q: Tensor, images: list[ImageKV], grid: tuple[int, int] = GRID) -> Tensor:
    """What `_attend` does without stacks."""
    for one in images:
        found = image_attention(q, one.kv, HEADS, one.attn_bias)
        text = text + (found if one.masks is None else apply_mask(found, one.masks[grid]))
    return text


@pytest.mark.parametrize(("batch", "rows"), [(2, 2), (4, 2), (2, 1), (6, 2), (3, 3), (1, 1)])
@pytest.mark.parametrize(("groups", "tokens"), [(2, 4), (3, 4), (2, 16), (2, 1)])
def test_a_stack_equals_its_images_one_by_one(form: str, batch: int, rows: int, groups: int, tokens: int) -> None:
    q, text = draw(batch, PIXELS, INNER), draw(batch, PIXELS, INNER, seed=1)
    for attn_bias, mask_rows in product((False, True), (0, 1, rows)):
        images = [image(rows, tokens, seed, attn_bias and seed != 1, seed != 1 and mask_rows) for seed in range(groups)]
        stack = one_stack(images, form)
        found = add_grouped_(text.clone(), q, stack, HEADS, GRID)
        torch.testing.assert_close(found, one_by_one(text, q, images), atol=1e-5, rtol=1e-5)


def test_a_stack_equals_the_plain_formula(form: str) -> None:
    q, text = draw(2, PIXELS, INNER), draw(2, PIXELS, INNER, seed=1)
    images = [image(2, 4, seed, attn_bias=True) for seed in (5, 6)]
    stack = one_stack(images, form)
    expected = text + sum(plain_image_attention(q, *one.kv, HEADS, one.attn_bias) for one in images)
    torch.testing.assert_close(add_grouped_(text.clone(), q, stack, HEADS), expected, atol=1e-5, rtol=1e-5)


def test_a_stack_is_added_in_place(form: str) -> None:
    text = draw(2, PIXELS, INNER)
    stack = one_stack([image(2, 4, 1), image(2, 4, 2)], form)
    before = text.clone()
    assert add_grouped_(text, draw(2, PIXELS, INNER, seed=2), stack, HEADS) is text
    assert not torch.equal(text, before)


def test_a_layer_of_another_size_gets_the_mask_of_its_size(form: str) -> None:
    """As under patches that shrink activations, whose grids nobody can know before."""
    images = [image(2, 4, seed, mask_rows=2) for seed in range(2)]
    stack = one_stack(images, form)
    q, text = draw(2, 2, INNER), draw(2, 2, INNER, seed=1)
    found = add_grouped_(text.clone(), q, stack, HEADS, (2, 1))
    halves = [ImageKV(one.kv, None, {(2, 1): shrunk(one)}) for one in images]
    torch.testing.assert_close(found, one_by_one(text, q, halves, (2, 1)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("batch", "rows"), [(2, 2), (4, 2), (3, 1)])
@pytest.mark.parametrize("mask_rows", [0, 1])
def test_one_image_is_a_product_on_processors_and_stands_by_itself_on_gpus(
    monkeypatch: pytest.MonkeyPatch, batch: int, rows: int, mask_rows: int
) -> None:
    q, text = draw(batch, PIXELS, INNER), draw(batch, PIXELS, INNER, seed=1)
    one = image(rows, 4, 3, attn_bias=True, mask_rows=mask_rows)
    found = add_grouped_(text.clone(), q, one_stack([one], "product"), HEADS, GRID)
    torch.testing.assert_close(found, one_by_one(text, q, [one]), atol=1e-5, rtol=1e-5)
    monkeypatch.setitem(FORM_OF, "cpu", FORM_OF["cuda"])
    assert group_images([one, image(rows, 16, 4)], HEADS)[0] is one


def shrunk(one: ImageKV) -> Tensor:
    assert one.masks is not None
    return one.masks[GRID].reshape(2, 2, 3 * 5).mean(-1)[..., None]


def test_as_many_tokens_and_rows_stand_together() -> None:
    images = [image(2, 4, 0), image(2, 16, 1), image(2, 4, 2), image(2, MAX_TOKENS + 1, 3), image(6, 4, 4)]
    found = group_images(images, HEADS)
    assert [one for one in found if isinstance(one, ImageKV)] == [images[3]]
    shapes = [(stack.groups, tuple(stack.kv.keys.shape)) for stack in found if isinstance(stack, GroupedKV)]
    assert shapes == [(2, (2, 8, INNER)), (1, (2, 16, INNER)), (1, (6, 4, INNER))]


@pytest.mark.parametrize("rows", [1, 2, 6])
def test_frames_have_masks_of_their_own_in_a_stack(form: str, rows: int) -> None:
    images = [image(rows, 4, 0, mask_rows=6), image(rows, 4, 1, mask_rows=rows), image(rows, 4, 2)]
    q, text = draw(6, PIXELS, INNER), draw(6, PIXELS, INNER, seed=1)
    found = add_grouped_(text.clone(), q, one_stack(images, form), HEADS, GRID)
    torch.testing.assert_close(found, one_by_one(text, q, images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "groups"),
    [(1, [0]), (MAX_TOGETHER, [MAX_TOGETHER]), (MAX_TOGETHER + 1, [MAX_TOGETHER, 0]), (7, [4, 3])],
)
def test_an_attention_holds_few_images_and_a_rest_of_one_stands_by_itself(
    monkeypatch: pytest.MonkeyPatch, images: int, groups: list[int]
) -> None:
    """Queries and results are there once for each image in it."""
    monkeypatch.setitem(FORM_OF, "cpu", "attention")
    found = group_images([image(2, 4, seed) for seed in range(images)], HEADS)
    assert [one.groups if isinstance(one, GroupedKV) else 0 for one in found] == groups


def test_a_kind_of_device_without_a_form_computes_each_image_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(FORM_OF, "cpu")
    images = [image(2, 4, 0), image(2, 4, 1)]
    assert group_images(images, HEADS) == tuple(images)


@pytest.mark.parametrize("dtype", HALVES)
def test_no_product_is_made_in_half_precision(dtype: torch.dtype) -> None:
    """Its scores would be too coarse for the softmax."""
    images = [to(image(2, 4, seed), dtype) for seed in range(2)]
    assert group_images(images, HEADS) == tuple(images)


# Half precision, against the truth in fp64


def to(one: ImageKV, dtype: torch.dtype) -> ImageKV:
    """The same image in another precision."""
    masks = None if one.masks is None else {grid: mask.to(dtype) for grid, mask in one.masks.items()}
    attn_bias = None if one.attn_bias is None else one.attn_bias.to(dtype)
    return ImageKV(KeysValues(*(part.to(dtype) for part in one.kv)), attn_bias, masks)


def truth(text: Tensor, q: Tensor, images: list[ImageKV]) -> Tensor:
    """The plain formula in fp64, of numbers that are rounded already."""
    text = text.double()
    for one in (to(one, torch.float64) for one in images):
        keys, values = (part.repeat_interleave(len(q) // len(part), 0) for part in one.kv)
        found = plain_image_attention(q.double(), keys, values, HEADS, one.attn_bias)
        text = text + (found if one.masks is None else apply_mask(found, one.masks[GRID]))
    return text


def error(found: Tensor, expected: Tensor) -> float:
    assert found.dtype in HALVES
    return (found.double() - expected).norm().item()


def by_forms(text: Tensor, q: Tensor, images: list[ImageKV]) -> Tensor:
    """What the shipped forms make of it."""
    attended = text.clone()
    for one in group_images(images, HEADS):
        attended = (
            add_grouped_(attended, q, one, HEADS, GRID)
            if isinstance(one, GroupedKV)
            else one_by_one(attended, q, [one])
        )
    return attended


@pytest.mark.parametrize("device", [*FORM_OF, "any other"])
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("tokens", [1, 4, 16, 33])
@pytest.mark.parametrize("spread", [1.0, 6.0])
def test_every_form_is_as_near_the_truth_in_halves_as_torchs_own_attention(
    monkeypatch: pytest.MonkeyPatch, device: str, dtype: torch.dtype, tokens: int, spread: float
) -> None:
    """spread: of the scores; where it is wide, rounding them before the softmax costs most."""
    monkeypatch.setitem(FORM_OF, "cpu", FORM_OF.get(device, "none"))
    for (attn_bias, mask_rows), count, seed in product(product((False, True), (0, 1, 2)), (1, 2, 5), range(3)):
        images = [image(2, tokens, 10 * seed + number, attn_bias, mask_rows) for number in range(count)]
        wide = [one._replace(kv=KeysValues(one.kv.keys * spread, one.kv.values)) for one in images]
        halves = [to(one, dtype) for one in wide]
        q, text = draw(4, PIXELS, INNER, seed=seed).to(dtype), draw(4, PIXELS, INNER, seed=seed + 1).to(dtype)
        expected = truth(text, q, halves)
        usual = error(one_by_one(text, q, halves), expected)
        assert error(by_forms(text, q, halves), expected) <= 1.1 * usual, (attn_bias, mask_rows, count, seed)
