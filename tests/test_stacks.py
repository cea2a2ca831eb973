"""The grouped product equals an attention for each image prompt, added one after the other."""

from itertools import product

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core import stacks
from comfyui_ip_adapter.ip_adapter_core.adapter import KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention import image_attention, masked, plain_image_attention
from comfyui_ip_adapter.ip_adapter_core.masks import pyramid
from comfyui_ip_adapter.ip_adapter_core.stacks import (
    MOST_HEADS,
    MOST_JOINT,
    MOST_TOKENS,
    MOST_WIDE,
    Image,
    Stack,
    add_stack_,
    stacked,
)

HEADS, INNER, GRID = 4, 24, (6, 5)
PIXELS = GRID[0] * GRID[1]
FORMS = ("by row", "joint", "wide")


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The form that stacks of this test have."""
    if request.param == "joint":
        monkeypatch.setattr(stacks, "MOST_HEADS", 0)
    return str(request.param)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def image(rows: int, tokens: int, seed: int, emphasis: bool = False, mask_rows: int = 0) -> Image:
    pair = KeysValues(random(rows, tokens, INNER, seed=seed), random(rows, tokens, INNER, seed=seed + 100))
    mask = random(mask_rows, *GRID, seed=seed + 200).sigmoid() if mask_rows else None
    return Image(pair, random(tokens, seed=seed) if emphasis else None, None if mask is None else pyramid(mask))


def one_stack(images: list[Image], form: str) -> Stack:
    """All images in a stack of this form."""
    (stack,) = stacked(images, HEADS, costly_starts=form != "by row")
    assert isinstance(stack, Stack)
    assert stack.form == (form == "joint", form == "wide")
    return stack


def one_by_one(text: Tensor, q: Tensor, images: list[Image], grid: tuple[int, int] = GRID) -> Tensor:
    """What `_attend` does without stacks."""
    for one in images:
        found = image_attention(q, one.image, HEADS, one.emphasis)
        text = text + (found if one.masks is None else masked(found, one.masks[grid]))
    return text


@pytest.mark.parametrize(("batch", "rows"), [(2, 2), (4, 2), (2, 1), (6, 2), (3, 3), (1, 1)])
@pytest.mark.parametrize(("groups", "tokens"), [(2, 4), (3, 4), (2, 16), (2, 1)])
def test_a_stack_equals_its_images_one_by_one(form: str, batch: int, rows: int, groups: int, tokens: int) -> None:
    q, text = random(batch, PIXELS, INNER), random(batch, PIXELS, INNER, seed=1)
    for emphasis, mask_rows in product((False, True), (0, 1, rows)):
        images = [image(rows, tokens, seed, emphasis and seed != 1, seed != 1 and mask_rows) for seed in range(groups)]
        stack = one_stack(images, form)
        found = add_stack_(text.clone(), q, stack, HEADS, GRID)
        torch.testing.assert_close(found, one_by_one(text, q, images), atol=1e-5, rtol=1e-5)


def test_a_stack_equals_the_plain_formula(form: str) -> None:
    q, text = random(2, PIXELS, INNER), random(2, PIXELS, INNER, seed=1)
    images = [image(2, 4, seed, emphasis=True) for seed in (5, 6)]
    stack = one_stack(images, form)
    expected = text + sum(plain_image_attention(q, *one.image, HEADS, one.emphasis) for one in images)
    torch.testing.assert_close(add_stack_(text.clone(), q, stack, HEADS), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_rounds_like_itself(form: str, dtype: torch.dtype) -> None:
    images = [image(2, 4, seed, emphasis=True, mask_rows=2) for seed in range(2)]
    q, text = random(2, PIXELS, INNER), random(2, PIXELS, INNER, seed=1)
    expected = one_by_one(text, q, images)
    halved = [
        Image(
            KeysValues(*(part.to(dtype) for part in one.image)),
            None if one.emphasis is None else one.emphasis.to(dtype),
            {grid: mask.to(dtype) for grid, mask in (one.masks or {}).items()},
        )
        for one in images
    ]
    stack = one_stack(halved, form)
    found = add_stack_(text.to(dtype), q.to(dtype), stack, HEADS, GRID)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0.05)


def test_a_stack_is_added_in_place(form: str) -> None:
    text = random(2, PIXELS, INNER)
    stack = one_stack([image(2, 4, 1), image(2, 4, 2)], form)
    before = text.clone()
    assert add_stack_(text, random(2, PIXELS, INNER, seed=2), stack, HEADS) is text
    assert not torch.equal(text, before)


def test_a_layer_of_another_size_gets_the_mask_of_its_size(form: str) -> None:
    """As under patches that shrink activations, whose grids nobody can know before."""
    images = [image(2, 4, seed, mask_rows=2) for seed in range(2)]
    stack = one_stack(images, form)
    q, text = random(2, 2, INNER), random(2, 2, INNER, seed=1)
    found = add_stack_(text.clone(), q, stack, HEADS, (2, 1))
    halves = [Image(one.image, None, {(2, 1): shrunk(one)}) for one in images]
    torch.testing.assert_close(found, one_by_one(text, q, halves, (2, 1)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("batch", "rows"), [(2, 2), (4, 2), (3, 1)])
@pytest.mark.parametrize("mask_rows", [0, 1])
def test_one_image_is_a_stack_where_starts_are_cheap_only(batch: int, rows: int, mask_rows: int) -> None:
    q, text = random(batch, PIXELS, INNER), random(batch, PIXELS, INNER, seed=1)
    one = image(rows, 4, 3, emphasis=True, mask_rows=mask_rows)
    stack = one_stack([one], "by row")
    found = add_stack_(text.clone(), q, stack, HEADS, GRID)
    torch.testing.assert_close(found, one_by_one(text, q, [one]), atol=1e-5, rtol=1e-5)
    assert stacked([one, image(rows, 16, 4)], HEADS, costly_starts=True)[0] is one


def shrunk(one: Image) -> Tensor:
    assert one.masks is not None
    return one.masks[GRID].reshape(2, 2, 3 * 5).mean(-1)[..., None]


def test_as_many_tokens_and_rows_stand_together() -> None:
    images = [image(2, 4, 0), image(2, 16, 1), image(2, 4, 2), image(2, MOST_TOKENS + 1, 3), image(6, 4, 4)]
    found = stacked(images, HEADS)
    assert [one for one in found if isinstance(one, Image)] == [images[3]]
    shapes = [(stack.groups, tuple(stack.keys.shape)) for stack in found if isinstance(stack, Stack)]
    assert shapes == [(2, (2, 8, INNER)), (1, (2, 16, INNER)), (1, (6, 4, INNER))]


@pytest.mark.parametrize("rows", [1, 2, 6])
def test_frames_have_masks_of_their_own_in_a_stack(form: str, rows: int) -> None:
    images = [image(rows, 4, 0, mask_rows=6), image(rows, 4, 1, mask_rows=rows), image(rows, 4, 2)]
    q, text = random(6, PIXELS, INNER), random(6, PIXELS, INNER, seed=1)
    found = add_stack_(text.clone(), q, one_stack(images, form), HEADS, GRID)
    torch.testing.assert_close(found, one_by_one(text, q, images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("rows", "kind"), [(MOST_JOINT // 16, Stack), (MOST_JOINT // 16 + 1, Image)])
def test_joint_stacks_are_of_few_rows_only(rows: int, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "MOST_HEADS", 0)
    images = [image(rows, 16, seed) for seed in range(2)]
    assert {type(one) for one in stacked(images, HEADS, costly_starts=True)} == {kind}


@pytest.mark.parametrize(
    ("heads", "tokens", "wide"),
    [(8, 16, True), (8, 17, False), (MOST_HEADS, 4, True), (MOST_HEADS + 2, 4, False)],
)
def test_stacks_of_many_heads_or_tokens_are_not_wide(heads: int, tokens: int, wide: bool) -> None:
    """They would hold each number `heads` times."""
    images = [Image(KeysValues(random(2, tokens, 8 * heads), random(2, tokens, 8 * heads))) for _ in range(2)]
    (stack,) = stacked(images, heads, costly_starts=True)
    assert isinstance(stack, Stack)
    assert stack.form.wide is wide
    assert stack.keys.shape[1] == 2 * tokens * (heads if wide else 1) <= (MOST_WIDE if wide else MOST_JOINT)
