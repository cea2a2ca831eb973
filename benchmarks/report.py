"""The tables of a run: every goal with what was measured, and everything else that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .figures import Figure, Findings
from .goals import GOALS, Goal

MET, UNMET = "met", "**not met**"

_HEAD = ("| goal | measured | | how |", "| --- | --- | --- | --- |")
_MORE_HEAD = ("| also measured | | how |", "| --- | --- | --- |")


def markdown(findings: Findings, machine: Mapping[str, str]) -> str:
    """The whole report."""
    said = "; ".join(f"{name}: {value}" for name, value in machine.items())
    parts = [said, "", *goals(findings), "", *more(findings)]
    for name, curves in findings.growth.items():
        parts += ["", *growth(name, curves)]
    return "\n".join([*parts, ""])


def goals(findings: Findings) -> list[str]:
    """A row for each goal."""
    figures = {figure.name: figure for figure in findings.figures}
    why = {missing.name: missing.why for missing in findings.missing}
    return [*_HEAD, *(_row(goal, figures.get(goal.name), why.get(goal.name, "not run")) for goal in GOALS)]


def more(findings: Findings) -> list[str]:
    """A row for each figure that no goal is about, and for what else is missing."""
    names = {goal.name for goal in GOALS}
    rows = [f"| {f.name} | {number(f)} | {f.how} |" for f in findings.figures if f.name not in names]
    lacking = [f"| {one.name} | not measured | {one.why} |" for one in findings.missing if one.name not in names]
    return [*_MORE_HEAD, *rows, *lacking]


def growth(name: str, curves: Mapping[str, Sequence[Sequence[float]]]) -> list[str]:
    """Milliseconds per call by what grows."""
    values = [at for at, _ in next(iter(curves.values()))]
    head = f"| {name} | {' | '.join(f'{value:g}' for value in values)} |"
    rows = [f"| {way}, ms | {' | '.join(f'{taken:.3g}' for _, taken in points)} |" for way, points in curves.items()]
    return [head, _rule(len(values) + 1), *rows]


def is_met(goal: Goal, figure: Figure) -> bool:
    """Whether what was measured is at most the goal."""
    return figure.value <= goal.most


def number(figure: Figure) -> str:
    """A figure with its quartiles."""
    value = f"{figure.value:.3g}{_unit(figure.unit)}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({figure.low:.3g} to {figure.high:.3g})"


def _row(goal: Goal, figure: Figure | None, why: str) -> str:
    asked = f"{goal.text}: at most {goal.most:.3g}{_unit(goal.unit)}"
    if figure is None:
        return f"| {asked} | {why} | | |"
    return f"| {asked} | {number(figure)} | {MET if is_met(goal, figure) else UNMET} | {figure.how} |"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _rule(columns: int) -> str:
    return "|" + " --- |" * columns
