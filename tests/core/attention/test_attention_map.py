"""Tests of attention_map.py: what is measured, how it comes together, and what users write."""

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention.attention_map import (
    MAP_KINDS,
    MOST,
    SCALES,
    MapAccumulator,
    Maps,
    Window,
    pick_images,
    read_steps,
    relative_norm,
    say_shares,
)
from comfyui_ip_adapter.ip_adapter_core.attention.reference import image_attention, plain_image_attention
from drawn import draw

HEADS, INNER, PIXELS, TOKENS, IMAGES = 4, 32, 9, 6, 3


def attended(show: str, attn_bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What each map of a part with three images attends to, (maps, 1, pixels, inner), and its numbers."""
    q, keys, values = draw(1, PIXELS, INNER), draw(1, TOKENS, INNER, seed=1), draw(1, TOKENS, INNER, seed=2)
    row = MAP_KINDS[show]
    probes = [
        KeysValues(keys, row.value_override(values, marks[:, None])) for marks in row.token_groups(TOKENS, IMAGES)
    ]
    added = torch.stack([image_attention(q, probe, HEADS, attn_bias) for probe in probes])
    return added, torch.stack([row.measure(one, draw(1, PIXELS, INNER, seed=3)) for one in added])


def probabilities(attn_bias: Tensor | None = None) -> Tensor:
    """The softmax of the same queries and keys as the formula says it, mean over heads: (pixels, tokens)."""
    q, keys = (
        x.reshape(-1, HEADS, INNER // HEADS).transpose(0, 1)
        for x in (draw(1, PIXELS, INNER)[0], draw(1, TOKENS, INNER, seed=1)[0])
    )
    scores = q @ keys.transpose(-1, -2) * (INNER // HEADS) ** -0.5
    return (scores if attn_bias is None else scores + attn_bias).softmax(-1).mean(0)


@pytest.mark.parametrize("attn_bias", [None, torch.tensor([2.0, 2.0, 1.0, 1.0, 0.5, 0.5]).log()])
def test_what_images_under_one_softmax_add_adds_up_to_what_all_add(attn_bias: Tensor | None) -> None:
    whole = plain_image_attention(
        draw(1, PIXELS, INNER), draw(1, TOKENS, INNER, seed=1), draw(1, TOKENS, INNER, seed=2), HEADS, attn_bias
    )
    parts, lengths = attended("influence", attn_bias)
    assert torch.allclose(parts.sum(0), whole, atol=1e-5)
    text = draw(1, PIXELS, INNER, seed=3)
    assert torch.allclose(lengths, parts.norm(dim=-1) / text.norm(dim=-1))


@pytest.mark.parametrize("attn_bias", [None, torch.tensor([2.0, 2.0, 1.0, 1.0, 0.5, 0.5]).log()])
def test_shares_are_the_softmax_of_the_tokens_of_each_image(attn_bias: Tensor | None) -> None:
    _, shares = attended("share", attn_bias)
    expected = probabilities(attn_bias).reshape(PIXELS, IMAGES, TOKENS // IMAGES).sum(-1).T
    assert torch.allclose(shares[:, 0], expected, atol=1e-6)
    assert torch.allclose(shares.sum(0), torch.ones(1, PIXELS))


def test_token_maps_are_the_softmax_of_the_first_image() -> None:
    _, shares = attended("tokens")
    assert torch.allclose(shares[:, 0], probabilities()[:, : TOKENS // IMAGES].T, atol=1e-6)


def test_no_more_tokens_are_shown_than_fit() -> None:
    assert len(MAP_KINDS["tokens"].token_groups(257, 1)) == MOST
    assert len(MAP_KINDS["tokens"].token_groups(8, 2)) == 4


def test_one_image_alone_has_nothing_to_share() -> None:
    assert len(MAP_KINDS["share"].token_groups(4, 1)) == 0
    assert len(MAP_KINDS["influence"].token_groups(4, 1)) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_numbers_are_exact_where_the_model_is_not(dtype: torch.dtype) -> None:
    added, text = draw(2, PIXELS, 64).to(dtype), draw(2, PIXELS, 64, seed=1).to(dtype)
    found = MAP_KINDS["influence"].measure(added, text)
    assert found.dtype == torch.float32
    assert torch.allclose(found, added.float().norm(dim=-1) / text.float().norm(dim=-1))


def test_where_the_text_says_nothing_numbers_are_finite() -> None:
    assert torch.isfinite(MAP_KINDS["influence"].measure(draw(1, 2, 4), torch.zeros(1, 2, 4))).all()


def whole(height: int, width: int) -> Window:
    return Window((0, 0), (height, width))


def test_a_tally_is_the_weighted_mean_over_layers_of_all_sizes() -> None:
    tally = MapAccumulator((8, 12))
    fine = draw(8, 12).abs()
    tally.add(fine, whole(8, 12), 3.0)
    tally.add(torch.full((1, 2), 5.0), whole(8, 12), 1.0)
    assert torch.allclose(tally.mean(), (3 * fine + 5) / 4)


def test_a_tally_lies_on_the_cpu_in_float32() -> None:
    tally = MapAccumulator((4, 4))
    tally.add(torch.ones(2, 2, dtype=torch.bfloat16), whole(4, 4), 1.0)
    assert tally.mean().dtype == torch.float32
    assert torch.equal(tally.mean(), torch.ones(4, 4))


def test_parts_of_a_picture_are_counted_where_they_lie() -> None:
    tally = MapAccumulator((4, 6))
    tally.add(torch.full((2, 2), 2.0), Window((1, 3), (2, 2)), 1.0)
    tally.add(torch.full((1, 1), 4.0), Window((1, 4), (2, 2)), 1.0)
    expected = torch.zeros(4, 6)
    expected[1:3, 3:6] = torch.tensor([2.0, 3.0, 4.0])
    assert torch.equal(tally.mean(), expected)


def test_parts_beyond_an_edge_go_on_at_the_other() -> None:
    tally = MapAccumulator((4, 6))
    tally.add(torch.ones(4, 2), Window((0, 5), (4, 2)), 1.0)
    assert torch.equal(tally.mean()[0], torch.tensor([1.0, 0, 0, 0, 0, 1]))


def test_a_tally_knows_whether_anything_was_seen() -> None:
    tally = MapAccumulator((2, 2))
    assert not tally.seen
    assert torch.equal(tally.mean(), torch.zeros(2, 2))
    tally.add(torch.zeros(2, 2), whole(2, 2), 1.0)
    assert tally.seen


def maps(show: str, *numbers: float, scale: str = SCALES[0]) -> Maps:
    tallies = {}
    for number, value in enumerate(numbers, 1):
        tallies[f"reference {number}"] = tally = MapAccumulator((2, 2))
        tally.add(torch.tensor([[0.5, value], [value, value]]), whole(2, 2), 1.0)
    return Maps.of(tallies, MAP_KINDS[show], (6, 8), scale)


def test_masks_have_the_size_of_the_picture_and_one_scale_for_all() -> None:
    found = maps("influence", 1.0, 4.0)
    assert found.names == ("reference 1", "reference 2")
    assert found.ends == (0.0, 4.0)
    assert found.masks().shape == (2, 6, 8)
    assert torch.allclose(found.masks().amax((1, 2)), torch.tensor([0.25, 1.0]))
    assert torch.allclose(found.masks().amin((1, 2)), torch.tensor([0.125, 0.125]))


def test_shares_keep_their_numbers_as_masks() -> None:
    assert maps("share", 0.7, 0.2).masks().amax().item() == pytest.approx(0.7)


def test_the_scale_from_lowest_to_highest_shows_small_differences() -> None:
    found = maps("influence", 0.6, 0.51, scale="lowest to highest")
    assert found.ends == pytest.approx((0.5, 0.6))
    assert (found.masks().amin().item(), found.masks().amax().item()) == pytest.approx((0.0, 1.0))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_maps_without_differences_are_masks_all_the_same(scale: str, value: float) -> None:
    tally = MapAccumulator((2, 2))
    tally.add(torch.full((2, 2), value), whole(2, 2), 1.0)
    found = Maps.of({"reference 1": tally}, MAP_KINDS["influence"], (2, 2), scale).masks()
    assert torch.isfinite(found).all()
    assert len(found.unique()) == 1


def test_steps_rise_and_come_once() -> None:
    assert read_steps("0.6, 0.2;1\n0, 0.6,") == (0.0, 0.2, 0.6, 1.0)


@pytest.mark.parametrize("wrong", ["half", "1.2", "-0.1", "nan", "inf", "0.2-0.4", "20%"])
def test_what_is_no_step_is_quoted(wrong: str) -> None:
    with pytest.raises(
        ValueError, match=f"Write the steps to look at as fractions of the noise schedule, .*; found '{wrong}'"
    ):
        read_steps(f"0.5, {wrong}")


@pytest.mark.parametrize("nothing", ["", " , ;\n"])
def test_no_steps_at_all_are_refused(nothing: str) -> None:
    with pytest.raises(ValueError, match=r"^Write the steps to look at .*; found nothing"):
        read_steps(nothing)


def test_the_image_of_the_frame_is_picked() -> None:
    images = torch.arange(3.0)[:, None, None, None].expand(3, 16, 24, 3)
    assert pick_images(images, (3, 4, 2, 3), 2)[0, 0, 0] == 2
    assert pick_images(images[:1], (3, 4, 2, 3), 2)[0, 0, 0] == 0


def test_an_image_that_is_cut_by_less_than_a_cell_will_do() -> None:
    assert pick_images(torch.zeros(1, 1020, 768, 3), (1, 4, 128, 96), 0).shape == (1020, 768, 3)


@pytest.mark.parametrize(
    ("count", "height", "width", "reason"),
    [(1, 512, 512, "another shape"), (1, 1024, 512, "another shape"), (2, 512, 768, "images: 2")],
)
def test_an_image_of_something_else_is_refused(count: int, height: int, width: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        pick_images(torch.zeros(count, height, width, 3), (3, 4, 64, 96), 0)


# Image against text


def test_a_share_is_the_norm_of_what_is_added_over_that_of_the_text() -> None:
    text, added = draw(3, PIXELS, INNER), 0.4 * draw(3, PIXELS, INNER, seed=1)
    wanted = [(added[row].square().sum() / text[row].square().sum()).sqrt() for row in range(3)]
    torch.testing.assert_close(relative_norm(added, text), torch.stack(wanted))
    assert relative_norm(0 * added, 0 * text).tolist() == [0.0, 0.0, 0.0]


def test_shares_are_told_by_block() -> None:
    shares = {("input", 4, 0): 0.25, ("input", 4, 1): 0.75, ("input", 5, 0): 1.234, ("middle", 0, 0): 0.006}
    assert say_shares(shares) == (
        "References against the text, by block: input 4: 0.5, 5: 1.2; middle 0: 0.006. On the whole 0.56."
    )
