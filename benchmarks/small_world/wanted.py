"""A table of the evaluation, and what is wanted of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Wanted(NamedTuple):
    """What is wanted of a share: at least so much, or with `most` at most."""

    what: str
    measured: float
    wanted: float
    most: bool = False

    @property
    def met(self) -> bool:
        """Whether it is so."""
        return self.measured <= self.wanted if self.most else self.measured >= self.wanted

    def row(self) -> list[str]:
        """Its line of a table."""
        wanted = f"at {'most' if self.most else 'least'} {share(self.wanted)}"
        return [self.what, wanted, share(self.measured), "met" if self.met else "**not met**"]


@dataclass(frozen=True)
class Table:
    """What was measured, and what is wanted of it."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Wanted] = ()

    def __str__(self) -> str:
        """Both in Markdown."""
        parts = [_markdown(self.header, self.rows)]
        if self.goals:
            parts.append(_markdown(["wanted", "", "measured", ""], [goal.row() for goal in self.goals]))
        return "\n\n".join(parts)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def share(value: float) -> str:
    return f"{value:.0%}"
