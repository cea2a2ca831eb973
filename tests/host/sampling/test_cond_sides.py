"""Which side rows are on: what names say of lists, lists of chunks, and texts of rows."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.prompts.prompt import COND, UNCOND

pytestmark = pytest.mark.usefixtures("comfy")


def test_lists_of_conds_have_the_side_of_the_names_they_are_of() -> None:
    from comfyui_ip_adapter.nodes.host.sampling.cond_sides import of_lists

    one, other, bare = ({"uuid": number} for number in (1, 2, 3))
    partner = dict(one)  # the host's partner of an area has the text of one side and the uuid of the other
    named = {"positive": [one, other], "negative": [bare, partner]}
    assert of_lists([named["positive"], named["negative"]], named) == (COND, UNCOND)
    assert of_lists([named["negative"], named["positive"]], named) == (UNCOND, COND)
    assert of_lists([copy.deepcopy(named["negative"])], named) == (UNCOND,)
    assert of_lists([[partner]], named) == (UNCOND,)
    assert of_lists([[one]], named) == (COND,)
    assert of_lists([[{"uuid": 9}]], named) == (UNCOND,)
    assert of_lists([[{"uuid": 9}], named["negative"]], named) == (COND, UNCOND)
    assert of_lists([named["positive"], [{"uuid": 9}]], named) == (COND, UNCOND)
    assert of_lists([None, []], named) == (UNCOND, UNCOND)
    other_words = {"cond": [one], "uncond": [bare]}
    assert of_lists([other_words["uncond"], other_words["cond"]], other_words) == (UNCOND, COND)
    nothing_said = {"first": [one], "second": [bare]}
    assert of_lists([nothing_said["first"], nothing_said["second"]], nothing_said) == (COND, UNCOND)
    assert of_lists([nothing_said["first"]], nothing_said) == (COND,)
    alike = {"positive": [one], "negative": [bare, partner]}
    assert of_lists([[dict(one)]], alike) == (COND,)


def test_lists_that_were_looked_up_before_tell_the_sides_of_chunks() -> None:
    from comfyui_ip_adapter.nodes.host.sampling.cond_sides import LISTS, of_chunks

    assert of_chunks({LISTS: (UNCOND, COND, COND), "cond_or_uncond": [2, 0, 1]}, {}) == (COND, UNCOND, COND)


@pytest.mark.parametrize(
    ("uuids", "sides"),
    [
        ([2, 1], (UNCOND, COND)),  # names decide, whatever number a list has
        ([7, 7], (COND, UNCOND)),  # nobody knows this cond: the number decides
        ([2], (COND, UNCOND)),  # of a piece that a pack made
    ],
)
def test_without_lists_the_cond_of_a_chunk_tells_or_else_its_number(uuids: list[int], sides: tuple[int, ...]) -> None:
    from comfyui_ip_adapter.nodes.host.sampling.cond_sides import of_chunks

    named: dict[str, Any] = {"positive": [{"uuid": 1}], "negative": [{"uuid": 2}]}
    assert of_chunks({"cond_or_uncond": [0, 1], "uuids": uuids}, named) == sides


def test_a_call_without_options_is_positive() -> None:
    from comfyui_ip_adapter.nodes.host.sampling.cond_sides import of_chunks

    assert of_chunks({}, {}) == (COND,)


def test_texts_tell_sides_only_where_each_is_of_one_side() -> None:
    from comfyui_ip_adapter.nodes.host.sampling.cond_sides import by_text

    def cond(value: float) -> dict[str, Any]:
        return {"model_conds": {"c_crossattn": SimpleNamespace(cond=torch.full((1, 2, 3), value))}}

    named = {"positive": [cond(1.0)], "negative": [cond(2.0), cond(3.0)], "empty": [{}]}
    texts = torch.tensor([3.0, 1.0, 2.0])[:, None, None].expand(3, 2, 3)
    assert by_text(texts, named) == (UNCOND, COND, UNCOND)
    assert by_text(texts.repeat(1, 2, 1), named) == (UNCOND, COND, UNCOND)  # repeated to as many tokens as others have
    assert by_text(texts + 1, named) is None
    assert by_text(texts, named | {"pos": [cond(2.0)]}) is None
    assert by_text(None, named) is None
