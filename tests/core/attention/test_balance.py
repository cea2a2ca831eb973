"""Balance: the fast form is the formula, and what it holds is the sum, in its region, whatever the adapters."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.adapters.keys_values import KeysValues
from comfyui_ip_adapter.ip_adapter_core.attention.balance import (
    BALANCES,
    MOST,
    OFF,
    Balanced,
    balance_at,
    factors,
    hold,
    plain_balance,
)
from comfyui_ip_adapter.ip_adapter_core.attention.grouped import GroupedKV, ImageKV, balanced, group_images
from comfyui_ip_adapter.ip_adapter_core.attention.reference import plain_image_attention
from comfyui_ip_adapter.ip_adapter_core.attention.scaling import SCALINGS, scale_kv
from drawn import draw

BATCH, PIXELS, INNER, HEADS = 4, 30, 24, 4
ON = [mode for mode in BALANCES if mode != OFF]
TEXT = draw(BATCH, PIXELS, INNER, seed=9)
LEFT = torch.cat([torch.ones(1, PIXELS // 2, 1), torch.zeros(1, PIXELS // 2, 1)], dim=1)

FORMULAS: dict[str, Callable[[float], float]] = {
    "off": lambda ratio: 1.0,
    "cap": lambda ratio: min(1.0, ratio),
    "equalise": lambda ratio: min(MOST, ratio),
}

each_mode = pytest.mark.parametrize("mode", ON)


def test_every_balance_has_its_formula_here() -> None:
    assert BALANCES.keys() == FORMULAS.keys()


@pytest.mark.parametrize("mode", BALANCES)
@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0, 7.0, 1e6])
def test_a_factor_is_its_formula(mode: str, ratio: float) -> None:
    assert BALANCES[mode](torch.tensor(ratio)).item() == pytest.approx(FORMULAS[mode](ratio))


def part(mode: str, loudness: float, weight: float = 1.0, seed: int = 0, mask: Tensor | None = None) -> Balanced:
    """What a prompt of this λ adds whose V' are as long as this."""
    seen = draw(BATCH, PIXELS, INNER, seed=seed) * loudness * weight
    limit = torch.full((BATCH, 1, 1), abs(weight))
    if mask is None:
        return Balanced(mode, seen, limit)
    whole = mask.expand(BATCH, -1, -1)
    return Balanced(mode, seen * whole, limit * whole, whole)


def ratio(added: Tensor, within: Tensor | None = None) -> Tensor:
    """The norm of what is added over that of the text, of each row."""
    one = torch.ones(1, PIXELS, 1) if within is None else within
    return (added * one).norm(dim=(1, 2)) / (TEXT * one).norm(dim=(1, 2))


def says(parts: Sequence[Balanced]) -> Tensor:
    return hold(TEXT, parts)


SOFT = torch.linspace(0, 1, PIXELS)[None, :, None]
MIXTURES = {
    "one": lambda mode: [part(mode, 3.0)],
    "weights of their own": lambda mode: [part(mode, 3.0, 0.5), part(mode, 0.2, -0.8, seed=1)],
    "cap beside equalise": lambda mode: [part("cap", 0.1, seed=1), part("equalise", 0.3, 0.7, seed=2)],
    "masked": lambda mode: [part(mode, 2.0, mask=LEFT)],
    "softly masked": lambda mode: [part(mode, 2.0, mask=SOFT), part(mode, 0.1, 0.4, seed=1, mask=1 - SOFT)],
    "masked beside everywhere": lambda mode: [part(mode, 2.0, mask=LEFT), part(mode, 1.5, 0.4, seed=1)],
    "nothing": lambda mode: [part(mode, 3.0, 0.0)],
    "nothing beside something": lambda mode: [part(mode, 3.0, 0.0), part(mode, 2.0, seed=1)],
}


@each_mode
@pytest.mark.parametrize("name", MIXTURES)
def test_the_fast_form_is_the_formula(mode: str, name: str) -> None:
    parts = MIXTURES[name](mode)
    torch.testing.assert_close(TEXT + says(parts), plain_balance(TEXT, parts), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("loudness", [0.05, 1.0, 20.0])
@pytest.mark.parametrize("weight", [0.3, -0.3, 1.5])
def test_a_prompt_says_as_much_as_its_weight_whatever_its_adapter(loudness: float, weight: float) -> None:
    equal, capped = (says([part(mode, loudness, weight)]) for mode in ("equalise", "cap"))
    torch.testing.assert_close(ratio(equal), torch.full((BATCH,), abs(weight)))
    assert (ratio(capped) <= abs(weight) * 1.0001).all()
    assert torch.equal(equal.sign(), (draw(BATCH, PIXELS, INNER) * weight).sign())


def test_what_is_below_the_cap_is_left_as_it_is_bit_for_bit() -> None:
    faint = part("cap", 0.2)
    assert torch.equal(says([faint]), faint.added)
    assert not torch.allclose(says([part("cap", 5.0)]), part("cap", 5.0).added)


@each_mode
@pytest.mark.parametrize("count", [1, 2, 4])
def test_several_references_have_the_say_of_one_and_keep_their_shares(mode: str, count: int) -> None:
    parts = [part(mode, 3.0 + seed, 0.6, seed) for seed in range(count)]
    torch.testing.assert_close(ratio(says(parts)), torch.full((BATCH,), 0.6))
    found = factors(TEXT, parts)
    assert all(torch.equal(factor, found[0]) for factor in found)


@each_mode
def test_the_order_does_not_matter(mode: str) -> None:
    parts = [part(mode, 3.0, 0.5, 1), part("cap", 0.4, 1.0, 2, LEFT), part("equalise", 2.0, 0.2, 3)]
    torch.testing.assert_close(says(parts), says(parts[::-1]))


@each_mode
def test_a_row_is_balanced_by_itself(mode: str) -> None:
    """Neither other pictures of a batch nor the other side of guidance change it."""
    loud = part(mode, 3.0)
    others = loud._replace(added=torch.cat([loud.added[:1], 7 * loud.added[1:]]))
    assert torch.equal(says([loud])[:1], says([others])[:1])


@each_mode
def test_regions_do_not_weaken_one_another(mode: str) -> None:
    loud, faint = part(mode, 30.0, mask=LEFT), part(mode, 1.5, 0.8, seed=1, mask=1 - LEFT)
    both = says([loud, faint])
    torch.testing.assert_close(both, says([loud]) + says([faint]))
    torch.testing.assert_close(ratio(both, LEFT), torch.ones(BATCH))
    torch.testing.assert_close(ratio(both, 1 - LEFT), torch.full((BATCH,), 0.8))


@each_mode
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_nothing_stays_nothing(mode: str, dtype: torch.dtype) -> None:
    """A schedule at 0, a side that reads nothing, a black mask, and V' that are 0 by themselves."""
    text = TEXT.to(dtype)
    silent = [part(mode, 1.0, 0.0), part(mode, 1.0, mask=0 * LEFT), part(mode, 0.0)]
    for each in (*([one] for one in silent), silent):
        low = [one._replace(added=one.added.to(dtype)) for one in each]
        assert torch.equal(text + hold(text, low), text)


@each_mode
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.5), (torch.float32, 0.02)])
def test_prompts_that_cancel_out_leave_next_to_nothing(mode: str, dtype: torch.dtype, tolerance: float) -> None:
    one = part(mode, 1.0)
    parts = [one._replace(added=(one.added * sign).to(dtype)) for sign in (1.0, -0.9999)]
    found = hold(TEXT.to(dtype), parts).float()
    assert bool(found.isfinite().all())
    assert found.norm() < tolerance * TEXT.norm()
    opposite = [parts[0], parts[0]._replace(added=-parts[0].added)]
    assert not hold(TEXT.to(dtype), opposite).any()


@each_mode
@pytest.mark.parametrize("loudness", [1e-4, 1.0, 300.0])
def test_halves_are_near_the_formula(mode: str, loudness: float) -> None:
    parts = [part(mode, loudness, 0.7)._replace(added=part(mode, loudness, 0.7).added.half())]
    exact = [one._replace(added=one.added.double()) for one in parts]
    found, expected = hold(TEXT.half(), parts), hold(TEXT.half().double(), exact)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.double(), expected, atol=1e-3, rtol=1e-3)


# With keys and values


def prompt(mode: str, scaling: str, weight: float, seed: int, masks: Tensor | None = None) -> ImageKV:
    kv = KeysValues(draw(2, 5, INNER, seed=seed), draw(2, 5, INNER, seed=seed + 50))
    by_grid = None if masks is None else {(6, 5): masks}
    return ImageKV(scale_kv(kv, weight, scaling), masks=by_grid, balance=balance_at(mode, weight, kv.keys))


@each_mode
@pytest.mark.parametrize("scaling", SCALINGS)
def test_prompts_that_are_computed_together_are_the_formula(mode: str, scaling: str) -> None:
    q = draw(BATCH, PIXELS, INNER, seed=3)
    prompts = [prompt(mode, scaling, weight, seed) for seed, weight in enumerate((0.9, -0.4, 1.3))]
    (group,) = group_images(prompts, HEADS)
    assert isinstance(group, GroupedKV)
    assert group.balance is not None
    added = [plain_image_attention(q, *(x.repeat_interleave(2, 0) for x in one.kv), HEADS) for one in prompts]
    limit = torch.full((BATCH, 1, 1), 1.3)
    expected = plain_balance(TEXT, [Balanced(mode, each, limit) for each in added])
    found = hold(TEXT, [balanced(sum(added, torch.zeros(())), group, group.balance)])
    torch.testing.assert_close(TEXT + found, expected, atol=1e-5, rtol=1e-5)


def test_only_prompts_that_are_balanced_alike_are_computed_together() -> None:
    modes = [OFF, OFF, "cap", "equalise", "cap"]
    found = group_images([prompt(mode, "V only", 0.5, seed) for seed, mode in enumerate(modes)], HEADS)
    told = [(one.balance.mode if one.balance else OFF, one.groups) for one in found if isinstance(one, GroupedKV)]
    assert told == [(OFF, 2), ("cap", 2), ("equalise", 1)]
    apart = [prompt("cap", "V only", 0.5, seed) for seed in range(3)]
    apart[2] = apart[2]._replace(balance=balance_at("cap", 0.5, TEXT, place=1))
    assert [one.groups for one in group_images(apart, HEADS) if isinstance(one, GroupedKV)] == [2, 1]


def test_the_limit_is_where_any_of_several_masks_is() -> None:
    masks = torch.cat([LEFT, 1 - LEFT], dim=-1)
    both = prompt("cap", "V only", 0.5, 1, masks)._replace(
        balance=balance_at("cap", torch.tensor([[[0.5, -0.2]], [[0.0, 0.3]]]), TEXT)
    )
    assert both.balance is not None
    limit = balanced(TEXT, both, both.balance, (6, 5)).limit
    assert torch.equal(limit[1:3, 0, 0], torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(limit[1:3, -1, 0], torch.tensor([0.2, 0.3]))


@pytest.mark.parametrize("weight", [0.5, -0.5])
def test_off_is_no_balance_and_the_limit_is_how_much_is_asked_for(weight: float) -> None:
    assert balance_at(OFF, weight, TEXT) is None
    rows = torch.tensor([0.0, weight])[:, None, None]
    for given, expected in ((weight, [0.5]), (rows, [0.0, 0.5])):
        held = balance_at("cap", given, TEXT)
        assert held is not None
        assert held.limit.flatten().tolist() == expected
