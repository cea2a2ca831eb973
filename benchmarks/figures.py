"""What a measurement hands on: figures, and why others are missing. Plain values, as they go between processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .timing import spread


@dataclass(frozen=True)
class Figure:
    """A measured number.

    name: of the goal it is for, or what was measured; how: at what sizes and with how many repeats; low, high: the
    quartiles of its repeats, where it was repeated.
    """

    name: str
    value: float
    unit: str
    how: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Missing:
    """A goal that was not measured, and why."""

    name: str
    why: str


@dataclass
class Findings:
    """What one measurement found."""

    figures: list[Figure] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    growth: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)

    def add(self, name: str, values: Sequence[float] | float, unit: str, how: str) -> None:
        """A figure of repeats, or of a number that needs none."""
        if isinstance(values, (int, float)):
            self.figures.append(Figure(name, float(values), unit, how))
            return
        median, low, high = spread(values)
        self.figures.append(Figure(name, median, unit, f"{how}, {len(values)} repeats", low, high))

    def lack(self, names: Sequence[str], why: str) -> None:
        """Goals that are not measured."""
        self.missing += [Missing(name, why) for name in names]

    def extend(self, more: Findings) -> None:
        """Take in what another measurement found."""
        self.figures += more.figures
        self.missing += more.missing
        self.growth |= more.growth


def write(findings: Findings, path: Path) -> None:
    """Keep findings in a file."""
    path.write_text(json.dumps(asdict(findings)))


def read(path: Path) -> Findings:
    """Findings that were kept in a file."""
    kept = json.loads(path.read_text())
    figures = [Figure(**figure) for figure in kept["figures"]]
    return Findings(figures, [Missing(**missing) for missing in kept["missing"]], kept["growth"])
