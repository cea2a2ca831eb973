"""Weight types against the published table, the roles of blocks, and the laws of combining."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

import own_weights
import published_weights
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer, layers
from comfyui_ip_adapter.ip_adapter_core.layers.roles import INSTANT_STYLE, TUNED, layer_positions
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import (
    LINEAR,
    MERGE_MODES,
    TYPES,
    LayerWeight,
    LayerWeights,
    from_weight_type,
    merge_weights,
)
from published_weights import BLOCKS, INSTANT_SETS, expected
from twins import CONSTRUCTIONS

WEIGHT, SECOND = 0.8, 0.6
ROWS = {name: published_weights.ROWS[name] | own_weights.ROWS[name] for name in published_weights.ROWS}
SMALL = {name: {"model_channels": 32, **CONSTRUCTIONS[name].comfy} for name in CONSTRUCTIONS}
MODELS = {
    f"{size} {name}": layers(configs[name])
    for size, configs in (("published", CONFIGS), ("small", SMALL))
    for name in ("SD1.5", "SD2", "SDXL")
}
CONSTRUCTION = {name: "SDXL" if "SDXL" in name else "SD1.5" for name in MODELS}
SD, SDXL = MODELS["published SD1.5"], MODELS["published SDXL"]

# Relatives of SDXL as ComfyUI knows them: two without a middle transformer, one with fewer blocks.
_RELATIVE: dict[str, Any] = {
    "model_channels": 320,
    "num_head_channels": 64,
    "channel_mult": [1, 2, 4],
    "context_dim": 2048,
}
SSD_1B = layers(
    {
        **_RELATIVE,
        "num_res_blocks": 2,
        "transformer_depth": [0, 0, 2, 2, 4, 4],
        "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4],
        "transformer_depth_middle": -1,
    }
)
KOALA = layers(
    {
        **_RELATIVE,
        "num_res_blocks": 1,
        "transformer_depth": [0, 2, 6],
        "transformer_depth_output": [0, 0, 2, 2, 6, 6],
        "transformer_depth_middle": 6,
    }
)


def roles(model: tuple[Layer, ...], source: str = TUNED) -> dict[str, set[tuple[str, int]]]:
    """The blocks of style and composition."""
    found: dict[str, set[tuple[str, int]]] = {"style": set(), "composition": set(), "rest": set()}
    for place in layer_positions(model, source):
        found[place.role.name].add(place.layer.address[:2])
    return {name: found[name] for name in ("style", "composition")}


def blocks(weights: LayerWeights, model: tuple[Layer, ...]) -> Mapping[tuple[str, int], LayerWeight]:
    """The share of every block; its transformers must agree."""
    found: dict[tuple[str, int], LayerWeight] = {}
    for layer, share in weights.per_layer(model).items():
        assert found.setdefault(layer.address[:2], share) == share
    return found


@pytest.mark.parametrize("construction", ROWS)
def test_every_type_stands_in_one_table_published_or_our_own(construction: str) -> None:
    tables = (published_weights.ROWS, own_weights.ROWS, INSTANT_SETS)
    told = sorted(name for table in tables for name in table[construction])
    assert told == sorted(TYPES), "Add a type's numbers to tests/support/own_weights.py, or take its row out there."


@pytest.mark.parametrize("name", ROWS["SD1.5"])
@pytest.mark.parametrize("model", MODELS)
def test_every_layer_gets_the_number_of_its_table(model: str, name: str) -> None:
    found = from_weight_type(name, WEIGHT, SECOND).per_layer(MODELS[model])
    construction = CONSTRUCTION[model]
    row = dict(zip(BLOCKS[construction], expected(ROWS[construction][name], WEIGHT, SECOND), strict=True))
    assert len(found) == len(MODELS[model])
    for layer, share in found.items():
        assert share == pytest.approx(row[layer.address[:2]], abs=5e-5), layer


@pytest.mark.parametrize("name", INSTANT_SETS["SD1.5"])
@pytest.mark.parametrize("model", MODELS)
def test_instantstyle_acts_in_its_own_blocks(model: str, name: str) -> None:
    style, layout = INSTANT_SETS[CONSTRUCTION[model]][name]
    for block, share in blocks(from_weight_type(name, WEIGHT, SECOND), MODELS[model]).items():
        both = "and" in name
        weight = WEIGHT if block in style else (SECOND if both else WEIGHT) if block in layout else 0
        assert share == LayerWeight(weight, 0), block


@pytest.mark.parametrize("name", TYPES)
def test_layers_keep_the_order_in_which_they_are_given(name: str) -> None:
    forwards, backwards = from_weight_type(name).per_layer(SDXL), from_weight_type(name).per_layer(SDXL[::-1])
    assert list(forwards) == list(SDXL)
    assert list(backwards) == list(SDXL[::-1])
    assert forwards == backwards


@pytest.mark.parametrize("name", TYPES)
def test_both_numbers_are_multiples(name: str) -> None:
    once, twice = (
        from_weight_type(name, WEIGHT, SECOND).per_layer(SD),
        from_weight_type(name, 2 * WEIGHT, 2 * SECOND).per_layer(SD),
    )
    for layer in SD:
        assert twice[layer] == pytest.approx((2 * once[layer].positive, 2 * once[layer].to_negative))


def test_the_second_number_counts_where_there_are_two_parts() -> None:
    counts = {
        name
        for name in TYPES
        if from_weight_type(name, 1, 2).per_layer(SD) != from_weight_type(name, 1, 1).per_layer(SD)
    }
    assert counts == {name for name in TYPES if "precise" in name or " and " in name}


def test_linear_is_one_everywhere() -> None:
    assert set(LINEAR.per_layer(SDXL).values()) == {LayerWeight(1.0, 0.0)} == {LayerWeight()}


@pytest.mark.parametrize("numbers", [(math.nan, 1), (1, math.inf)])
def test_numbers_that_are_none_are_refused(numbers: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"weight to a finite number such as 0.8; found (nan|inf)"):
        from_weight_type("linear", *numbers)


def test_an_unknown_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"Set weight_type to one of linear, ease in.*; found 'original'"):
        from_weight_type("original")


# Which blocks carry what


@pytest.mark.parametrize("source", [TUNED, INSTANT_STYLE])
def test_a_relative_without_a_middle_has_the_roles_of_its_construction(source: str) -> None:
    for whole in (SD, SDXL):
        headless = tuple(layer for layer in whole if layer.stage != "middle")
        without = {name: found - {("middle", 0)} for name, found in roles(whole, source).items()}
        assert roles(headless, source) == without
    assert roles(SSD_1B, source) == roles(SDXL, source)


def test_without_a_middle_the_transformers_are_counted_without_it() -> None:
    assert {place.many for place in layer_positions(SSD_1B)} == {10}
    assert [place.t for place in layer_positions(SSD_1B) if place.layer.address == ("output", 0, 0)] == [4]
    last = from_weight_type("ease out").per_layer(SSD_1B)[
        next(layer for layer in SSD_1B if layer.address == ("output", 5, 0))
    ]
    assert last.positive == pytest.approx(0.05 + 0.95 * 9 / 10)


@pytest.mark.parametrize(
    ("model", "composition", "style"),
    [
        (KOALA, ("input", 5), ("output", 1)),
        (layers(SMALL["one level"]), ("input", 2), ("output", 1)),
        (
            (Layer("input", 3, 0, 8, 1), Layer("output", 7, 0, 8, 1), Layer("middle", 0, 0, 8, 1)),
            ("input", 3),
            ("output", 7),
        ),
    ],
)
@pytest.mark.parametrize("source", [TUNED, INSTANT_STYLE])
def test_other_constructions_have_their_roles_where_sdxl_has_them(
    model: tuple[Layer, ...], composition: tuple[str, int], style: tuple[str, int], source: str
) -> None:
    assert roles(model, source) == {"style": {style}, "composition": {composition}}


def test_sdxl_itself_follows_the_rule_for_other_constructions() -> None:
    more = (*SDXL, Layer("output", 6, 0, 640, 1))
    assert roles(more) == roles(SDXL)


def test_a_model_without_input_transformers_has_no_composition() -> None:
    model = (Layer("output", 0, 0, 8, 1), Layer("output", 1, 0, 8, 1))
    assert roles(model) == {"style": {("output", 1)}, "composition": set()}
    assert set(from_weight_type("composition").per_layer(model).values()) == {LayerWeight(0, 0)}


# Combining

MIXED = [
    from_weight_type("style transfer precise", 0.5, 2),
    from_weight_type("composition precise", -1, 0.3),
    from_weight_type("ease in", 1.5),
]


@pytest.mark.parametrize("way", MERGE_MODES)
@pytest.mark.parametrize("model", [SD, SDXL, KOALA])
def test_combining_does_not_ask_for_an_order(way: str, model: tuple[Layer, ...]) -> None:
    a, b, c = MIXED
    assert merge_weights(way, a, b).per_layer(model) == merge_weights(way, b, a).per_layer(model)
    left, right = merge_weights(way, merge_weights(way, a, b), c), merge_weights(way, a, merge_weights(way, b, c))
    for layer in model:
        assert left.per_layer(model)[layer] == pytest.approx(right.per_layer(model)[layer])


@pytest.mark.parametrize("weights", MIXED)
def test_multiplying_by_linear_changes_nothing(weights: LayerWeights) -> None:
    assert merge_weights("multiply", weights, LINEAR).per_layer(SD) == weights.per_layer(SD)


@pytest.mark.parametrize("weights", MIXED)
def test_adding_what_is_zero_changes_nothing(weights: LayerWeights) -> None:
    assert merge_weights("add", weights, from_weight_type("linear", 0)).per_layer(SD) == weights.per_layer(SD)


@pytest.mark.parametrize("weights", MIXED)
def test_the_maximum_with_itself_changes_nothing(weights: LayerWeights) -> None:
    assert merge_weights("maximum", weights, weights).per_layer(SD) == weights.per_layer(SD)


def test_combinations_join_layer_by_layer() -> None:
    a, b = from_weight_type("weak input", 3), from_weight_type("strong middle", 2)
    assert blocks(merge_weights("multiply", a, b), SD)["input", 1] == pytest.approx((0.6 * 0.4, 0))
    assert blocks(merge_weights("add", a, b), SD)["input", 1] == pytest.approx((0.6 + 0.4, 0))
    assert blocks(merge_weights("maximum", a, b), SD)["middle", 0] == pytest.approx((3, 0))


def test_multiplying_keeps_what_is_swapped_swapped() -> None:
    precise = from_weight_type("style transfer precise", WEIGHT, SECOND)
    halved, squared = (
        merge_weights("multiply", precise, from_weight_type("linear", 0.5)),
        merge_weights("multiply", precise, precise),
    )
    assert blocks(halved, SDXL)["input", 8] == pytest.approx((0, 0.3))
    assert blocks(squared, SDXL)["input", 8] == pytest.approx((0, 0.36))
    assert blocks(squared, SDXL)["output", 1] == pytest.approx((0.64, 0))


def test_a_combination_says_what_it_is_made_of() -> None:
    made = merge_weights(
        "add",
        merge_weights("multiply", from_weight_type("linear"), from_weight_type("ease in")),
        from_weight_type("composition"),
    )
    assert made.name == "linear x ease in + composition"


def test_an_unknown_way_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"Set combine to one of multiply, add, maximum.*; found 'minus'"):
        merge_weights("minus", LINEAR, LINEAR)


# What a picture shows


@pytest.mark.parametrize("model", MODELS)
def test_a_description_has_every_layer_in_running_order(model: str) -> None:
    weights = from_weight_type("composition precise", WEIGHT, SECOND)
    described = weights.bars(MODELS[model])
    assert list(dict.fromkeys(bar.layer.address[:2] for bar in described)) == BLOCKS[CONSTRUCTION[model]]
    assert {bar.layer: bar.share for bar in described} == weights.per_layer(MODELS[model])


def test_a_description_names_the_blocks_that_the_type_goes_by() -> None:
    def styles(weights: LayerWeights) -> set[tuple[str, int]]:
        return {bar.layer.address[:2] for bar in weights.bars(SD) if bar.role == "style"}

    tuned, instant = from_weight_type("style transfer"), from_weight_type("InstantStyle style")
    assert styles(tuned) == roles(SD)["style"]
    assert styles(instant) == roles(SD, INSTANT_STYLE)["style"]
    assert styles(merge_weights("add", instant, instant)) == styles(instant)
    assert styles(merge_weights("add", instant, tuned)) == styles(tuned)
