"""Lists of layer weights: what can be written, what it means on a model, and how mistakes are told."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer, layers
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import LayerWeight, from_weight_type
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import custom, parse

SD, SDXL = layers(CONFIGS["SD1.5"]), layers(CONFIGS["SDXL"])
LONGEST = 400  # letters of a message


def numbers(text: str, model: tuple[Layer, ...]) -> dict[str, float]:
    """What the list gives, by block where all of its transformers agree, else by transformer; zeros left out."""
    found: dict[str, set[float]] = {}
    for layer, share in custom(text).per_layer(model).items():
        assert share.to_negative == 0
        found.setdefault(f"{layer.stage}.{layer.block}", set()).add(share.positive)
        found.setdefault(f"{layer.stage}.{layer.block}.{layer.depth}", set()).add(share.positive)
    one = {name: min(given) for name, given in found.items() if len(given) == 1}
    return {name: number for name, number in one.items() if number and name.rpartition(".")[0] not in one}


SD_STYLE = [f"input.{block}" for block in (1, 2, 4, 5)] + [f"output.{block}" for block in range(5, 12)]


@pytest.mark.parametrize(
    ("text", "model", "expected"),
    [
        ("output.1 = 1", SDXL, {"output.1": 1}),
        ("output.1:1", SDXL, {"output.1": 1}),
        ("input.8=-0.5", SDXL, {"input.8": -0.5}),
        ("middle: .25", SDXL, {"middle.0": 0.25}),
        ("middle.0: 25e-2", SD, {"middle.0": 0.25}),
        ("output.1.3 = 2", SDXL, {"output.1.3": 2}),
        ("middle.0.9 = 2", SDXL, {"middle.0.9": 2}),
        ("input = 0.2", SDXL, dict.fromkeys(("input.4", "input.5", "input.7", "input.8"), 0.2)),
        ("style = 1, composition = 0.3", SDXL, {"output.1": 1, "input.8": 0.3}),
        ("style = 1, composition = 0.3", SD, dict.fromkeys(SD_STYLE, 1) | {"input.7": 0.3, "input.8": 0.3}),
        ("4: 0.5", SDXL, {"middle.0": 0.5}),
        ("6: 0.5", SD, {"middle.0": 0.5}),
        ("3:1, 6:0.7", SDXL, {"input.8": 1, "output.1": 0.7}),
        ("0-1: 0.2, 10-10: 1", SDXL, {"input.4": 0.2, "input.5": 0.2, "output.5": 1}),
        ("0 – 1 = 0.2", SDXL, {"input.4": 0.2, "input.5": 0.2}),
        ("all = 0", SDXL, {}),
    ],
)
def test_a_list_gives_what_it_names_and_nothing_to_the_rest(
    text: str, model: tuple[Layer, ...], expected: dict[str, float]
) -> None:
    assert numbers(text, model) == expected


@pytest.mark.parametrize(
    "text",
    [
        "style=1,composition=0.3",
        "style=1;composition=0.3",
        "style=1\ncomposition=0.3",
        "style=1\r\ncomposition=0.3\r\n",
        "  style :1 ,, ;\n\n composition\t=\t0.3 ;",
        "style=1 # the look, all = 7; input = 3\ncomposition=0.3#0.4",
        "# all = 1\nStyle = 1, COMPOSITION = +0.3",
        "composition=0.3, style=1",
    ],
)
@pytest.mark.parametrize("model", [SD, SDXL])
def test_lists_may_be_laid_out_freely(text: str, model: tuple[Layer, ...]) -> None:
    assert numbers(text, model) == numbers("style = 1, composition = 0.3", model)


def test_blanks_inside_names_do_not_count() -> None:
    assert numbers("output . 1 . 3 = 1, 0 - 1 = 2", SDXL) == numbers("output.1.3=1,0-1=2", SDXL)


def test_later_entries_win() -> None:
    assert numbers("all = 0.1, output.1 = 1, output.1.3 = 0.5", SDXL)["output.1.3"] == 0.5
    assert set(numbers("output.1 = 1, all = 0.1", SDXL).values()) == {0.1}


def test_all_is_linear() -> None:
    assert custom("all = 1").per_layer(SDXL) == from_weight_type("linear").per_layer(SDXL)
    assert (
        custom("input=1, middle=1, output=1").per_layer(SD)
        == custom("0-15: 1").per_layer(SD)
        == from_weight_type("linear").per_layer(SD)
    )


def test_a_list_of_roles_is_the_type_of_its_name() -> None:
    assert custom("style=1, composition=0.3").per_layer(SDXL) == from_weight_type(
        "style and composition", 1, 0.3
    ).per_layer(SDXL)
    assert custom("style = 0.7").per_layer(SD) == from_weight_type("style transfer", 0.7).per_layer(SD)


def test_the_weight_multiplies_every_entry() -> None:
    doubled = custom("input = 0.2, output = -1", 2.0).per_layer(SD)
    assert set(doubled.values()) == {LayerWeight(0.4), LayerWeight(-2.0), LayerWeight(0.0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Write the list of layer weights as names and numbers such as style = 1, .*; found nothing"),
        (" \n,;# all = 1", "found nothing"),
        ("output.1 1", r"Write the list of layer weights as names and numbers .*; found 'output.1 1'"),
        ("style = 0,5", "points in decimals; found '5'"),
        ("style = ", "found 'style ='"),
        ("input: abc, style: 1", "found 'input: abc'"),
        ("style = nan", "found 'style = nan'"),
        ("style = 1e999", "found 'style = 1e999'"),
        ("style = 0.5 input = 1", "commas or new lines between them .*; found 'style = 0.5 input = 1'"),
        ("style := 1", "found 'style := 1'"),
        ("= 1", "Name layers .*; found ''"),
        (
            "stlye = 1",
            "Name layers in the list of layer weights by a block such as output.1, a stage .*; found 'stlye'",
        ),
        ("output.one = 1", "'output.one'"),
        ("output.1.2.3 = 1", "'output.1.2.3'"),
        ("style.1 = 1", "'style.1'"),
        ("-1 = 1", "'-1'"),
        ("1.5 = 1", "'1.5'"),
        ("1- = 1", "'1-'"),
        ("3-1 = 1", "Write 1-3 .*; found '3-1', which runs backwards"),
        ("all = 1, rest = 1", "'rest'"),
    ],
)
def test_what_cannot_be_read_is_quoted_before_any_model_is_seen(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse(text)
    assert len(str(caught.value)) < LONGEST


@pytest.mark.parametrize(
    ("text", "model", "named"),
    [
        ("input.1 = 1", SDXL, "input.1"),
        ("output.1 = 1", SD, "output.1"),
        ("all = 1, output.1.10 = 1", SDXL, "output.1.10"),
        ("middle.1 = 1", SDXL, "middle.1"),
        ("11 = 1", SDXL, "11"),
        ("0-15 = 1", SDXL, "0-15"),
        ("middle = 1", tuple(layer for layer in SD if layer.stage != "middle"), "middle"),
        ("composition = 1", tuple(layer for layer in SD if layer.stage == "output"), "composition"),
    ],
)
def test_names_that_a_model_lacks_are_told_with_those_it_has(text: str, model: tuple[Layer, ...], named: str) -> None:
    made = custom(text)
    with pytest.raises(ValueError, match=f"it has .*, and found {named}, which it lacks") as caught:
        made.per_layer(model)
    has = str(caught.value).partition("it has ")[2].partition(", and found ")[0]
    assert len(str(caught.value)) < LONGEST
    assert all(f" {block}" in has for block in {layer.block for layer in model})
    assert has.endswith(f"all; numbers 0-{len({layer.address[:2] for layer in model}) - 1}")


def test_the_names_of_a_model_tell_how_many_transformers_a_block_has() -> None:
    with pytest.raises(ValueError, match="it has ") as caught:
        custom("99 = 1").per_layer(SDXL)
    assert str(caught.value).partition("it has ")[2].partition(", and found ")[0] == (
        "input: 4 (0-1), 5 (0-1), 7 (0-9), 8 (0-9); middle: 0 (0-9); "
        "output: 0 (0-9), 1 (0-9), 2 (0-9), 3 (0-1), 4 (0-1), 5 (0-1); style, composition, all; numbers 0-10"
    )


def test_a_weight_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Set weight to a finite number such as 0\.8; found inf"):
        custom("all = 1", float("inf"))
