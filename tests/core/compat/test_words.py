"""The words of the old menus mean rows of our tables."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.attention.scaling import SCALINGS as OUR_SCALINGS
from comfyui_ip_adapter.ip_adapter_core.compat.words import (
    COMBINES,
    NORM_AVERAGE_OF_OLD,
    OLD_WEIGHT_TYPES,
    RESAMPLINGS,
    SCALINGS,
    SIMPLE_TYPES,
    TYPE_MEANINGS,
    WEIGHT_TYPES,
    read_weight_type,
)
from comfyui_ip_adapter.ip_adapter_core.prompts.combine import COMBINE_MODES
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import TYPES
from comfyui_ip_adapter.ip_adapter_core.vision.prepare import RESAMPLINGS as OUR_RESAMPLINGS

RETIRED = {
    "style transfer (SDXL)": "style transfer",
    "style transfer (SDXL only)": "style transfer",
    "composition (SDXL)": "composition",
    "style transfer and composition": "style and composition",
    "standard": "linear",
    "prompt is more important": "ease out",
    "original": "linear",
}


@pytest.mark.parametrize("word", sorted({*WEIGHT_TYPES, *SIMPLE_TYPES, *OLD_WEIGHT_TYPES, *TYPE_MEANINGS}))
def test_every_weight_type_is_one_of_ours(word: str) -> None:
    meaning = read_weight_type(word)
    assert meaning.weight_type in TYPES
    assert meaning.scaling in (None, *OUR_SCALINGS)


@pytest.mark.parametrize("word", WEIGHT_TYPES)
def test_the_words_of_the_last_version_are_ours(word: str) -> None:
    assert read_weight_type(word) == (word, None)


@pytest.mark.parametrize(("word", "today"), RETIRED.items())
def test_a_retired_word_means_its_successor(word: str, today: str) -> None:
    assert read_weight_type(word).weight_type == today


def test_linear_alone_meant_something_else_before_version_2() -> None:
    assert read_weight_type("linear", before_version_2=True).scaling == "K+V"
    assert read_weight_type("original", before_version_2=True) == read_weight_type("original")


def test_another_word_is_refused_with_the_menu() -> None:
    with pytest.raises(ValueError, match=r"^Set weight_type to one of linear, .*; found 'softer'\.$"):
        read_weight_type("softer")


def test_combinations_scalings_and_filters_are_rows_of_ours() -> None:
    assert {*COMBINES, *NORM_AVERAGE_OF_OLD.values()} <= set(COMBINE_MODES)
    assert set(SCALINGS) == set(OUR_SCALINGS)
    assert set(RESAMPLINGS.values()) <= set(OUR_RESAMPLINGS)
