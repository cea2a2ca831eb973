"""TABLE of what may vary in a grid of samplings, and the grid itself: lists that people write become cells."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

from ..text.number_lists import Wanted, numbers
from ..text.wording import quoted
from .layer_weights import TYPES
from .span import Span

NOTHING, REFERENCE = "nothing", "reference"
MOST = 100  # cells of a grid: it is looked at by people, and each is a sampling

_SEEDS = 2**64  # as many as the host's samplers take
_WEIGHT, _SHARE = 5.0, 1.0  # what the inputs for one value take


@dataclass(frozen=True)
class Cell:
    """How one picture of a grid is sampled.

    weight: λ.
    weight_type: how it spreads over the layers, a row of TYPES.
    start, end: when the prompt acts, as fractions of the noise schedule.
    cfg, seed: of the sampler.
    reference: number of the only reference that is used, from 1; None for all of them together.
    """

    weight: float = 1.0
    weight_type: str = "linear"
    start: float = 0.0
    end: float = 1.0
    cfg: float = 8.0
    seed: int = 0
    reference: int | None = None

    @property
    def sampled(self) -> Cell:
        """What its picture depends on: cells that have this alike have the same picture.

        At weight 0 no image prompt acts, whatever it would be made of and wherever it would act.
        """
        return self if self.weight else Cell(weight=0.0, cfg=self.cfg, seed=self.seed)


class Axis(NamedTuple):
    """What may vary: a row of AXES.

    field: of Cell; None where nothing varies.
    read: a text and the number of references -> values; raises ValueError that says how to write them.
    """

    field: str | None
    read: Callable[[str, int], tuple[Any, ...]]


@dataclass(frozen=True)
class Line:
    """One side of a grid: what varies along it, and its values in order.

    axis: a row of AXES.
    values: of the axis' field; a single None where nothing varies.
    """

    axis: str
    values: tuple[Any, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The values as people read them; nothing for a side along which nothing varies."""
        if AXES[self.axis].field is None:
            return ()
        return tuple(f"{value:g}" if isinstance(value, float) else str(value) for value in self.values)

    def vary(self, cell: Cell) -> list[Cell]:
        """The cell with each of the values."""
        field = AXES[self.axis].field
        return [cell] if field is None else [replace(cell, **{field: value}) for value in self.values]


@dataclass(frozen=True)
class Grid:
    """What varies across and down."""

    across: Line
    down: Line

    def cells(self, other: Cell) -> list[list[Cell]]:
        """The cells in rows; other: what does not vary. Raises ValueError for a start after its end."""
        rows = [self.across.vary(cell) for cell in self.down.vary(other)]
        for cell in chain.from_iterable(rows):
            Span(cell.start, cell.end).check()
        return rows


def read_grid(across: tuple[str, str], down: tuple[str, str], references: int) -> Grid:
    """The grid of two sides, each what varies and its values as text; references: how many there are.

    Raises ValueError that says how to write the values, where both sides vary the same thing, and for too many cells.
    """
    grid = Grid(*(Line(axis, AXES[axis].read(text, references)) for axis, text in (across, down)))
    if across[0] == down[0] != NOTHING:
        raise ValueError(f"Set across and down to different things; both are {across[0]}.")
    columns, rows = len(grid.across.values), len(grid.down.values)
    if columns * rows > MOST:
        raise ValueError(
            f"Write fewer values: {columns} across and {rows} down are {columns * rows} samplings, and at "
            f"most {MOST} make a grid."
        )
    return grid


def _of_numbers(wanted: Wanted[Any], least: float, most: float) -> Callable[[str, int], tuple[Any, ...]]:
    """A reader of numbers in a range."""

    def read(text: str, references: int) -> tuple[Any, ...]:
        found = numbers(text, wanted)
        if not found:
            raise wanted.make_error()
        for number in found:
            if not least <= number <= most:
                raise wanted.make_error(f"{number:g}" if isinstance(number, float) else str(number))
        return found

    return read


def _read_types(text: str, references: int) -> tuple[str, ...]:
    found = tuple(piece.strip() for piece in re.split("[,;\n]", text) if piece.strip())
    unknown = next((word for word in found if word not in TYPES), None)
    if unknown is not None or not found:
        raise ValueError(
            "Write the weight types as in linear, style transfer; found "
            f"{'nothing' if unknown is None else quoted(unknown)}. There are: {', '.join(TYPES)}."
        )
    return found


def _read_references(text: str, references: int) -> tuple[int, ...]:
    wanted = Wanted(
        "the references", f"numbers from 1 to {references}, such as 1, 2, or leave them empty for each", int
    )
    if not text.strip():
        return tuple(range(1, references + 1))
    found: tuple[int, ...] = _of_numbers(wanted, 1, references)(text, references)
    return found


def _fractions(what: str) -> Callable[[str, int], tuple[Any, ...]]:
    return _of_numbers(Wanted(f"the values of {what}", "fractions from 0 to 1, such as 0.5, 1", float), 0, _SHARE)


AXES: dict[str, Axis] = {
    NOTHING: Axis(None, lambda text, references: (None,)),
    "weight": Axis(
        "weight",
        _of_numbers(Wanted("the weights", "numbers from -5 to 5, such as 0.25, 0.5, 1", float), -_WEIGHT, _WEIGHT),
    ),
    "weight type": Axis("weight_type", _read_types),
    REFERENCE: Axis("reference", _read_references),
    "start": Axis("start", _fractions("start")),
    "end": Axis("end", _fractions("end")),
    "cfg": Axis("cfg", _of_numbers(Wanted("the values of cfg", "numbers from 0 to 100, such as 4, 7", float), 0, 100)),
    "seed": Axis("seed", _of_numbers(Wanted("the seeds", "whole numbers from 0, such as 1, 2, 3", int), 0, _SEEDS - 1)),
}
