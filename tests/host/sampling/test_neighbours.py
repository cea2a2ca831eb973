"""Image prompts beside other packs: a table of their manners, held against oracles that need no reference."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import ImagePrompt
from comfyui_ip_adapter.ip_adapter_core.settings.span import Span
from sampled import apply, cond, difference, make_prompt, noise, sample
from twins import Twins

pytestmark = [pytest.mark.usefixtures("comfy"), pytest.mark.filterwarnings("ignore:Should have tb")]

SAME = [
    *("nothing", "1 equal regions", "2 equal regions", "3 equal regions", "4 equal regions"),
    *("2 equal regions, told", "3 equal regions, told", "regions inside", "row by row", "row by row, told"),
    "module exchanged",
]
OTHERS = [
    *("2 regions", "3 regions", "2 regions by replacing", "forward exchanged", "pixels merged", "text halved"),
    *("patches of each call", "patches inside", "patches inside, of a layer", "patches inside, alone"),
    *("attention overridden", "tiles", "two tiles at once"),
]
LAST = "options copied"  # what it copies must be there
Sampled = Callable[..., Tensor]


@pytest.fixture(scope="module")
def alone(model: Any, prompt: ImagePrompt) -> Sampled:
    """What the prompt gives without neighbours, by guidance and number of pictures."""
    return cache(lambda cfg, pictures: sample(apply(model, prompt), cfg=cfg, given=noise(pictures), steps=2))


def manner(name: str) -> Callable[[Any], Any]:
    from packs.neighbours.manners import MANNERS

    return MANNERS[name]


def test_the_table_here_is_that_of_the_pack(comfy: None) -> None:
    from packs.neighbours import manners

    assert [*SAME, LAST] == list(manners.SAME)
    assert list(manners.OTHERS) == OTHERS


@pytest.mark.parametrize(("cfg", "pictures"), [(4.0, 1), (1.0, 1), (4.0, 2), (1.0, 2)])
@pytest.mark.parametrize("name", [*SAME, LAST])
def test_beside_what_changes_nothing_the_prompt_acts_as_alone(
    model: Any, prompt: ImagePrompt, alone: Sampled, name: str, cfg: float, pictures: int
) -> None:
    start = noise(pictures)
    bare = sample(manner(name)(model), cfg=cfg, given=start, steps=2)
    assert difference(bare, sample(model, cfg=cfg, given=start, steps=2)) < 1e-5, "the manner is no identity"
    found = sample(manner(name)(apply(model, prompt)), cfg=cfg, given=start, steps=2)
    assert difference(found, alone(cfg, pictures)) < 1e-5
    assert difference(found, bare) > 0.05


@pytest.mark.parametrize("name", [*SAME, *OTHERS])
def test_the_order_of_neighbours_changes_nothing(model: Any, prompt: ImagePrompt, name: str) -> None:
    ours_last = sample(apply(manner(name)(model), prompt), steps=2)
    ours_first = sample(manner(name)(apply(model, prompt)), steps=2)
    assert difference(ours_last, ours_first) < 1e-6


@pytest.mark.parametrize("name", [*SAME, LAST, *OTHERS])
def test_at_weight_zero_the_neighbour_is_alone_bit_for_bit(model: Any, prompt: ImagePrompt, name: str) -> None:
    bare = sample(manner(name)(model), steps=2)
    assert torch.equal(sample(manner(name)(apply(model, prompt, 0.0)), steps=2), bare)
    assert difference(sample(manner(name)(apply(model, prompt)), steps=2), bare) > 0.05


@pytest.mark.parametrize("pictures", [1, 2])
@pytest.mark.parametrize("cfg", [4.0, 1.0])
def test_regions_by_repeated_rows_and_by_replaced_attention_are_the_same_beside_a_prompt(
    model: Any, prompt: ImagePrompt, cfg: float, pictures: int
) -> None:
    start = noise(pictures)
    found = [
        sample(manner(name)(apply(model, prompt)), cfg=cfg, given=start, steps=2)
        for name in ("2 regions", "2 regions by replacing")
    ]
    assert difference(*found) < 1e-5


@pytest.mark.parametrize("name", ["patches of each call", "patches inside", "patches inside, alone"])
def test_patches_that_come_late_are_as_those_that_are_there(model: Any, prompt: ImagePrompt, name: str) -> None:
    late, there = (sample(manner(one)(apply(model, prompt)), steps=2) for one in (name, "text halved"))
    assert difference(late, there) < 1e-5


def test_a_call_on_rows_that_nobody_can_know_is_left_alone_and_the_log_says_so(
    model: Any, prompt: ImagePrompt, caplog: pytest.LogCaptureFixture
) -> None:
    """Both sides have the same text, and a pack says nothing."""
    from comfyui_ip_adapter.nodes.host.warn import warn_once

    warn_once.cache_clear()
    alike = {"positive": cond(1), "negative": cond(1), "steps": 2}
    with caplog.at_level(logging.WARNING):
        found = sample(manner("row by row")(apply(model, prompt)), **alike)
    assert difference(found, sample(manner("row by row")(model), **alike)) < 1e-6
    assert sum("does not say which" in record.message for record in caplog.records) == 1


def test_masks_and_several_prompts_act_beside_regions(small: Twins, prompt: ImagePrompt, tmp_path: Any) -> None:
    other, mask = make_prompt(small, tmp_path, 2, tokens=16), torch.zeros(1, 8, 8)
    mask[..., :4] = 1
    prompted = apply(apply(small.patcher, prompt, mask=mask), other, 0.5)
    found = sample(manner("3 equal regions")(prompted), given=noise(2), steps=2)
    assert difference(found, sample(prompted, given=noise(2), steps=2)) < 1e-5


def test_pixels_that_a_pack_merges_are_masked_where_they_were(model: Any, prompt: ImagePrompt) -> None:
    mask = torch.zeros(1, 8, 8)
    mask[:, :4] = 1
    merged = manner("pixels merged")
    upper = sample(merged(apply(model, prompt, mask=mask)), cfg=1.0, steps=1)
    assert difference(upper, sample(merged(apply(model, prompt)), cfg=1.0, steps=1)) > 0.01
    assert difference(upper, sample(merged(model), cfg=1.0, steps=1)) > 0.01


def test_rows_that_nobody_can_know_are_left_alone_and_the_log_says_so(
    model: Any, prompt: ImagePrompt, caplog: pytest.LogCaptureFixture
) -> None:
    from comfyui_ip_adapter.nodes.host.warn import warn_once
    from packs.neighbours.manners import with_rows_doubled_inside

    warn_once.cache_clear()
    bare = sample(with_rows_doubled_inside(model), steps=2)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(sample(with_rows_doubled_inside(apply(model, prompt)), steps=2), bare)
    assert sum("cannot be followed" in record.message for record in caplog.records) == 1


# Conds


AREAS: dict[str, dict[str, Any]] = {
    "area": {"area": (8, 8, 0, 0), "strength": 1.0},
    "area in percent": {"area": ("percentage", 1.0, 1.0, 0.0, 0.0), "strength": 1.0},
    "mask": {"mask": torch.ones(1, 8, 8), "mask_strength": 1.0, "set_area_to_bounds": False},
    "mask with bounds": {"mask": torch.ones(1, 8, 8), "mask_strength": 1.0, "set_area_to_bounds": True},
}


@pytest.mark.parametrize("how", AREAS)
@pytest.mark.parametrize("masked", [False, True])
def test_an_area_of_the_whole_picture_changes_nothing(model: Any, prompt: ImagePrompt, how: str, masked: bool) -> None:
    mask = torch.zeros(1, 8, 8)
    mask[..., :4] = 1
    prompted = apply(model, prompt, mask=mask) if masked else apply(model, prompt)
    text = cond(1)[0][0]
    found = sample(prompted, positive=[[text, dict(AREAS[how])]], steps=2)
    assert difference(found, sample(prompted, positive=[[text, {}]], steps=2)) < 1e-5


def test_halves_of_the_picture_are_prompted_as_pictures_of_their_own(model: Any, prompt: ImagePrompt) -> None:
    halves = [
        [[text, {"area": (8, 8, 0, x), "strength": 1.0}] for x in (0, 8)] for text in (cond(1)[0][0], cond(2)[0][0])
    ]
    wide = noise(1, 8, 16)
    found = sample(apply(model, prompt), positive=halves[0], negative=halves[1], given=wide, steps=1)
    each = [sample(apply(model, prompt), given=wide[..., x : x + 8], steps=1) for x in (0, 8)]
    assert difference(found, torch.cat(each, dim=-1)) < 1e-5


def test_both_forms_of_perp_neg_agree(model: Any, prompt: ImagePrompt) -> None:
    """One names the empty text, the other encodes it by itself when the model is called."""
    import comfy.samplers
    from comfy_extras.nodes_perpneg import Guider_PerpNeg, PerpNeg

    empty, prompted = cond(3), apply(model, prompt)
    patched = sample(PerpNeg.execute(prompted, empty, 1.0)[0], given=noise(), steps=2)
    guider = Guider_PerpNeg(prompted)
    guider.set_conds(cond(1), cond(2), empty)
    guider.set_cfg(4.0, 1.0)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 2)
    euler = comfy.samplers.sampler_object("euler")
    named = guider.sample(noise(), torch.zeros_like(noise()), euler, sigmas, disable_pbar=True, seed=1)
    assert difference(patched, named) < 1e-5


def test_options_that_are_copied_within_a_run_are_of_that_run(model: Any, prompt: ImagePrompt) -> None:
    """Spans, sides and masks act there as they do elsewhere."""
    mask = torch.zeros(1, 8, 8)
    mask[:, :4] = 1
    for how in ({"span": Span(1, 2, "steps")}, {"mask": mask}):
        prompted = apply(model, prompt, **how)
        assert difference(sample(manner(LAST)(prompted), steps=3), sample(prompted, steps=3)) < 1e-6
