"""Embeds of several sources as one, by the formulas of the combinations."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.compat.words import COMBINES, NORM_AVERAGE_OF_OLD
from comfyui_ip_adapter.ip_adapter_core.prompts.raw import combine_embeds
from drawn import draw

FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "concat": lambda e: e,
    "add": lambda e: e.sum(0, keepdim=True),
    "subtract": lambda e: (e[0] - e[1:].mean(0))[None],
    "average": lambda e: e.mean(0, keepdim=True),
    "norm average": lambda e: (e / e.norm(dim=-1, keepdim=True)).mean(0)[None] * e.norm(dim=-1, keepdim=True).mean(0),
    "norm average (IPAdapter Plus)": lambda e: (e / e.norm(dim=0, keepdim=True)).mean(0, keepdim=True),
    "max": lambda e: e.amax(0, keepdim=True),
    "min": lambda e: e.amin(0, keepdim=True),
}


@pytest.mark.parametrize("how", FORMULAS)
@pytest.mark.parametrize("shape", [(8,), (5, 8)], ids=["embeds", "hidden"])
def test_each_way_follows_its_formula(how: str, shape: tuple[int, ...]) -> None:
    parts = [draw(count, *shape, seed=count) for count in (1, 2, 3)]
    torch.testing.assert_close(combine_embeds(parts, how), FORMULAS[how](torch.cat(parts)), atol=1e-5, rtol=0)


def test_every_word_of_the_old_menus_has_its_formula_here() -> None:
    words = {*COMBINES, "max", "min"}
    assert words | set(NORM_AVERAGE_OF_OLD.values()) == set(FORMULAS)


@pytest.mark.parametrize("how", FORMULAS)
def test_one_image_alone_stays_as_it_is(how: str) -> None:
    alone = draw(1, 8)
    assert torch.equal(combine_embeds([alone], how), alone)


def test_embeds_of_two_encoders_are_refused() -> None:
    with pytest.raises(ValueError, match=r"one encoder .*found embeds of \[8\] and of \[9\]"):
        combine_embeds([draw(1, 8), draw(1, 9)], "average")
