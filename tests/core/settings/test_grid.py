"""Tests of ip_adapter_core/settings/grid.py: lists become cells, and what is no list is told with how to write it."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.settings.grid import AXES, MOST, NOTHING, Cell, read_grid

ONE = (NOTHING, "")
VALUES = {
    "weight": ("0.25; 0.5\n1 # strong", (0.25, 0.5, 1.0)),
    "weight type": ("linear, style transfer\nease in", ("linear", "style transfer", "ease in")),
    "reference": ("3, 1", (3, 1)),
    "start": ("0 0.5", (0.0, 0.5)),
    "end": ("0.5, 1", (0.5, 1.0)),
    "cfg": ("1, 4.5", (1.0, 4.5)),
    "seed": ("1, 2, 18446744073709551615", (1, 2, 2**64 - 1)),
}
WRONG = {
    "weight": ("1, much", "Write the weights as numbers .* such as 0.25, 0.5, 1; found 'much'"),
    "weight type": (
        "linear, baroque",
        r"Write the weight types as in linear, style transfer; found 'baroque'\. There are: ",
    ),
    "reference": ("1, 4", "Write the references as numbers from 1 to 3, .*; found '4'"),
    "start": ("0, 1.5", "Write the values of start as fractions from 0 to 1, .*; found '1.5'"),
    "end": ("-1", "Write the values of end as fractions .*; found '-1'"),
    "cfg": ("", "Write the values of cfg as numbers .*; found nothing"),
    "seed": ("1.5", "Write the seeds as whole numbers .*; found '1.5'"),
}


def test_every_axis_is_tried_here() -> None:
    assert set(VALUES) == set(WRONG) == set(AXES) - {NOTHING}


@pytest.mark.parametrize("axis", VALUES)
def test_values_are_read_and_go_into_their_field_alone(axis: str) -> None:
    text, values = VALUES[axis]
    (row,) = read_grid((axis, text), ONE, 3).cells(Cell())
    field = AXES[axis].field
    assert field is not None
    assert tuple(getattr(cell, field) for cell in row) == values
    assert {name for cell in row for name, value in vars(cell).items() if value != vars(Cell())[name]} <= {field}


@pytest.mark.parametrize("axis", WRONG)
def test_what_is_no_list_is_told_with_how_to_write_it(axis: str) -> None:
    text, words = WRONG[axis]
    with pytest.raises(ValueError, match=f"^{words}"):
        read_grid(ONE, (axis, text), 3)


def test_infinite_numbers_and_no_words_at_all_are_no_values() -> None:
    for axis, text in (("weight", "inf"), ("cfg", "nan"), ("weight type", " ,\n"), ("weight", "-6"), ("seed", "-1")):
        with pytest.raises(ValueError, match=r"^Write the"):
            read_grid((axis, text), ONE, 1)


def test_cells_are_rows_of_what_varies_across() -> None:
    grid = read_grid(("weight", "0, 1"), ("weight type", "linear, composition, ease in"), 1)
    rows = grid.cells(Cell(seed=7))
    assert [[(cell.weight, cell.weight_type) for cell in row] for row in rows] == [
        [(0.0, kind), (1.0, kind)] for kind in ("linear", "composition", "ease in")
    ]
    assert {cell.seed for row in rows for cell in row} == {7}
    assert (grid.across.words, grid.down.words) == (("0", "1"), ("linear", "composition", "ease in"))


def test_no_list_of_references_is_each_of_them() -> None:
    assert read_grid(("reference", " "), ONE, 3).across.values == (1, 2, 3)


def test_nothing_varies_where_nothing_is_to() -> None:
    grid = read_grid(ONE, ONE, 1)
    assert grid.cells(Cell(weight=0.3)) == [[Cell(weight=0.3)]]
    assert (grid.across.words, grid.down.words) == ((), ())


def test_both_sides_vary_different_things() -> None:
    with pytest.raises(ValueError, match=r"^Set across and down to different things; both are weight\.$"):
        read_grid(("weight", "1"), ("weight", "2"), 1)


def test_a_grid_that_is_too_large_is_told_with_its_size() -> None:
    many = ", ".join(map(str, range(MOST // 2 + 1)))
    assert len(read_grid(("seed", many), ONE, 1).across.values) == MOST // 2 + 1
    with pytest.raises(
        ValueError, match=r"^Write fewer values: 51 across and 2 down are 102 samplings, and at most 100"
    ):
        read_grid(("seed", many), ("weight", "0, 1"), 1)


def test_a_start_after_its_end_is_told() -> None:
    grid = read_grid(("start", "0, 0.6"), ("end", "0.5, 1"), 1)
    with pytest.raises(ValueError, match=r"^Set start to at most end; start 0\.6 is after end 0\.5\.$"):
        grid.cells(Cell())
