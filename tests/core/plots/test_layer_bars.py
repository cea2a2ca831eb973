"""The picture of layer weights: a bar where it should be, as high as it should be, in the colour of its stage."""

from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
import pytest

from comfyui_ip_adapter.ip_adapter_core.layers.architectures import layers
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.layout import Layer
from comfyui_ip_adapter.ip_adapter_core.layers.roles import running_order
from comfyui_ip_adapter.ip_adapter_core.plots import layer_bars
from comfyui_ip_adapter.ip_adapter_core.plots.drawing import COMPOSITION, FAINT, GRID, INK, PAPER, STYLE, TRACK
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import (
    TYPES,
    LayerWeights,
    from_weight_type,
    merge_weights,
)
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import custom

SD, SDXL, FLUX, SD3 = (layers(CONFIGS[name]) for name in ("SD1.5", "SDXL", "Flux", "SD3.5 Large"))
PLOT = slice(60, 270)  # the rows of bars, without the names of the stages below


class Seen(NamedTuple):
    """A bar in a picture: its stage, its columns, the pixels it reaches up and down, and how much of it is full."""

    stage: str
    left: int
    right: int
    up: int
    down: int
    filled: float


def levels(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def coloured(picture: np.ndarray, colour: str) -> np.ndarray:
    return (picture == levels(colour)).all(axis=-1)


def runs(columns: np.ndarray) -> list[tuple[int, int]]:
    """Where stretches of marked columns begin and end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], columns.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def draw(weights: LayerWeights, model: tuple[Layer, ...]) -> np.ndarray:
    return np.asarray(layer_bars.draw(weights, {"a model": model}))


def zero(picture: np.ndarray) -> int:
    """The first row of the zero line."""
    return int(coloured(picture[PLOT], INK).sum(axis=1).argmax()) + PLOT.start


def seen(picture: np.ndarray) -> list[Seen]:
    """The bars from left to right."""
    found, line = [], zero(picture)
    for stage, colour in layer_bars.COLOURS.items():
        marked = coloured(picture, colour)
        marked[: PLOT.start] = marked[PLOT.stop :] = False
        for left, right in runs(marked.any(axis=0)):
            rows = np.flatnonzero(marked[:, left:right].any(axis=1))
            inside = marked[rows.min() : rows.max() + 1, left:right]
            reach = max(line - int(rows.min()), 0), max(int(rows.max()) - line - 1, 0)
            found.append(Seen(stage, left, right, *reach, float(inside.mean())))
    return sorted(found, key=lambda bar: bar.left)


@pytest.mark.parametrize("model", [SD, SDXL, FLUX, SD3])
def test_every_layer_has_a_bar_in_running_order(model: tuple[Layer, ...]) -> None:
    found = seen(draw(from_weight_type("linear"), model))
    assert [bar.stage for bar in found] == [layer.stage for layer in sorted(model, key=running_order)]


@pytest.mark.parametrize("model", [SD, SDXL])
@pytest.mark.parametrize("name", ["ease in", "reverse in-out", "strong middle", "style and composition"])
def test_bars_are_as_high_as_the_weights(name: str, model: tuple[Layer, ...]) -> None:
    weights = from_weight_type(name, 0.8, 0.6)
    given = [share.positive for _, share, _ in weights.bars(model) if share.positive]
    found = seen(draw(weights, model))
    tall = max(bar.up for bar in found)
    assert tall > 100
    assert [bar.up for bar in found] == pytest.approx([number / max(given) * tall for number in given], abs=1.5)
    assert all(bar.down == 0 and bar.filled == 1 for bar in found)


def test_blocks_stand_apart_and_stages_further() -> None:
    found = seen(draw(from_weight_type("linear"), SDXL))
    gaps = [after.left - before.right for before, after in pairwise(found)]
    order = sorted(SDXL, key=running_order)
    kinds: dict[str, set[int]] = {"layer": set(), "block": set(), "stage": set()}
    for (before, after), gap in zip(pairwise(order), gaps, strict=True):
        kind = "stage" if before.stage != after.stage else "block" if before.block != after.block else "layer"
        kinds[kind].add(gap)
    assert max(kinds["layer"]) < min(kinds["block"]) <= max(kinds["block"]) < min(kinds["stage"])


def test_a_layer_without_weight_has_its_place_but_no_bar() -> None:
    picture = draw(from_weight_type("style transfer"), SDXL)
    assert len(seen(picture)) == 10
    nothing = draw(from_weight_type("linear", 0), SDXL)
    assert not seen(nothing)
    assert len(runs(coloured(nothing[PLOT], TRACK).any(axis=0))) == 70


def test_swapped_weights_hang_down_hatched() -> None:
    found = seen(draw(from_weight_type("style transfer precise", 0.8, 0.4), SD))
    hanging = [bar for bar in found if bar.down]
    assert [bar.up > 0 for bar in found] == [True] * 4 + [False] * 2 + [True] * 7
    assert all(0.2 < bar.filled < 0.9 for bar in hanging)
    assert all(bar.filled == 1 for bar in found if bar.up)
    assert hanging[0].down == pytest.approx(hanging[1].down / 4, abs=1.5)
    assert hanging[1].down == pytest.approx(found[0].up / 2, abs=2)


def test_negative_weights_hang_down_filled_and_negative_swapped_ones_stand() -> None:
    assert {(bar.up, bar.filled) for bar in seen(draw(from_weight_type("linear", -1), SD))} == {(0, 1.0)}
    stands = [bar for bar in seen(draw(from_weight_type("style transfer precise", 0, -1), SD)) if bar.up]
    assert len(stands) == 2
    assert all(bar.filled < 0.9 for bar in stands)


def test_a_layer_with_both_kinds_shows_both() -> None:
    both = merge_weights("add", from_weight_type("style transfer precise", 0, 0.5), from_weight_type("composition", -1))
    right = draw(both, SD)[PLOT][:, 250:300]
    full, striped = (
        coloured(right[:, part], layer_bars.COLOURS["input"]).any(axis=1).sum() for part in (slice(23), slice(23, 50))
    )
    assert full > striped > 20


@pytest.mark.parametrize(
    "weights",
    [from_weight_type("linear", 0.8), from_weight_type("linear", -3), from_weight_type("composition precise")],
)
def test_every_line_across_has_its_number(weights: LayerWeights) -> None:
    picture = draw(weights, SD)
    across = coloured(picture, GRID) | coloured(picture, INK)
    lines = runs(across[:, -20:-15].all(axis=1))
    numbers = runs((picture[60:275, :58] != levels(PAPER)).any(axis=(1, 2)))
    assert len(numbers) == len(lines) >= 3
    for (top, bottom), (above, below) in zip(lines, numbers, strict=True):
        assert 60 + above - 2 <= (top + bottom) / 2 <= 60 + below + 2


def test_the_axis_follows_the_weights_and_is_that_of_linear_where_there_are_none() -> None:
    one, none, five = (draw(from_weight_type("linear", weight), SD)[40:, :58] for weight in (1, 0, 5))
    assert np.array_equal(one, none)
    assert not np.array_equal(one, five)


@pytest.mark.parametrize("model", [SD, SDXL])
def test_blocks_and_stages_are_named_below_their_bars(model: tuple[Layer, ...]) -> None:
    picture = draw(from_weight_type("linear", 0), model)
    places = layer_bars.columns(from_weight_type("linear").bars(model))
    numbers = (picture[300:324] != levels(PAPER)).any(axis=(0, 2))
    for _, block in groupby(places, lambda column: column.bar.layer.address[:2]):
        left, *_, right = [edge for column in block for edge in column[1:]]
        middle = (left + right) // 2
        assert numbers[middle - 4 : middle + 4].any()
    for stage, inside in groupby(places, lambda column: column.bar.layer.stage):
        left, *_, right = [edge for column in inside for edge in column[1:]]
        letters = np.flatnonzero(coloured(picture[326:], layer_bars.COLOURS[stage]).any(axis=0))
        assert letters.mean() == pytest.approx((left + right) / 2, abs=6)


def test_the_legend_of_hatched_bars_is_there_when_some_are() -> None:
    left = slice(46, 66), slice(300)
    assert coloured(draw(from_weight_type("composition precise"), SD)[left], FAINT).any()
    assert not coloured(draw(from_weight_type("composition"), SD)[left], FAINT).any()


def test_the_legend_says_what_a_short_form_stands_for_where_there_is_one() -> None:
    legend, unmarked = slice(42, 72), (Layer("middle", 0, 0, 8, 1),)
    picture = draw(from_weight_type("InstantStyle layout"), SDXL)  # its blocks are wide enough for “comp.”
    assert coloured(picture[legend], COMPOSITION.paper).any()
    assert not coloured(picture[legend], STYLE.paper).any()
    for model, explained in ((SDXL, True), (unmarked, False)):
        assert coloured(draw(from_weight_type("linear"), model)[legend, 400:], FAINT).any() == explained


@pytest.mark.parametrize("model", [SD, SDXL])
@pytest.mark.parametrize("name", ["linear", "InstantStyle layout"])
def test_style_and_composition_blocks_are_marked_below_their_bars(name: str, model: tuple[Layer, ...]) -> None:
    picture = draw(from_weight_type(name), model)
    described = from_weight_type(name).bars(model)
    places = layer_bars.columns(described)
    for role, colour in (("style", STYLE.paper), ("composition", COMPOSITION.paper)):
        marked = coloured(picture[270:], colour).any(axis=0)
        for column in places:
            middle = marked[(column.left + column.right) // 2]
            assert middle == (column.bar.role == role), column


def test_columns_are_where_the_bars_are() -> None:
    places = layer_bars.columns(from_weight_type("linear").bars(SDXL))
    assert [(bar.left, bar.right) for bar in seen(draw(from_weight_type("linear"), SDXL))] == [
        place[1:] for place in places
    ]


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("numbers", [(5.0, -5.0), (-5.0, 5.0), (0.0, 0.0), (1e-6, 1.0), (0.3, 0.1)])
def test_bars_of_all_numbers_stay_in_the_plot(name: str, numbers: tuple[float, float]) -> None:
    picture = draw(from_weight_type(name, *numbers), SD)
    line = zero(picture)
    assert 70 < line < 268
    assert all(line - bar.up >= 74 and line + bar.down <= 266 for bar in seen(picture))


@pytest.mark.parametrize("many", [1, 8])
def test_a_name_of_any_length_ends_before_the_name_of_the_model(many: int) -> None:
    weights = from_weight_type("strong style and composition")
    for _ in range(many - 1):
        weights = merge_weights("multiply", weights, from_weight_type("strong style and composition"))
    title, short = (draw(given, SD)[:40] for given in (weights, from_weight_type("linear")))
    name = np.flatnonzero(coloured(short, FAINT).any(axis=0))
    name = name[name > layer_bars.SIZE[0] // 2].min()
    assert coloured(title, INK)[:, :name].any()
    assert (title[:, name - 15 : name - 4] == levels(PAPER)).all()
    assert np.array_equal(title[:, name:], short[:, name:])


def test_models_stand_one_above_the_other() -> None:
    picture = np.asarray(layer_bars.draw(from_weight_type("linear"), layer_bars.EXAMPLES))
    half = len(picture) // 2
    assert picture.shape == (2 * layer_bars.SIZE[1], layer_bars.SIZE[0], 3)
    assert [len(seen(part)) for part in (picture[:half], picture[half:])] == [16, 70]


def test_a_list_that_does_not_fit_says_so_in_the_place_of_its_bars() -> None:
    picture = np.asarray(layer_bars.draw(custom("input.1 = 1"), layer_bars.EXAMPLES))
    half = len(picture) // 2
    assert [bar.stage for bar in seen(picture[:half])] == ["input"]
    assert not seen(picture[half:])
    lines = (picture[half:][60:] != levels(PAPER)).any(axis=-1)
    assert len(runs(lines.any(axis=1))) >= 3
    assert not lines[:, layer_bars.SIZE[0] - 8 :].any()


def test_small_models_have_bars_too() -> None:
    model = (Layer("input", 3, 0, 8, 1), Layer("output", 7, 0, 8, 1))
    assert [bar.stage for bar in seen(draw(from_weight_type("linear"), model))] == ["input", "output"]
