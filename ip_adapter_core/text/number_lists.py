"""Lists that users write, such as `1, 0.5` or `0:1, 10:0.5`: cut into pieces, and their numbers read, in one manner.

A line may end with a remark after a #.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from .wording import quoted

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Wanted(Generic[Number]):
    """What a list holds: its name and form in messages, and what reads one number or raises ValueError."""

    what: str
    form: str
    read: Callable[[str], Number]

    def refused(self, piece: str = "") -> ValueError:
        """What to say of a piece that cannot be read, or of a list in which there is nothing."""
        return ValueError(f"Write {self.what} as {self.form}; found {quoted(piece) if piece else 'nothing'}.")

    def number(self, text: str, piece: str) -> Number:
        """A finite number. Raises ValueError that quotes the piece of the list."""
        try:
            number = self.read(text)
        except ValueError:
            raise self.refused(piece) from None
        if not abs(number) < math.inf:
            raise self.refused(piece)
        return number


class Pair(NamedTuple):
    """A piece of a list as it was written, and what stands before and after its : or =."""

    piece: str
    name: str
    number: str


def numbers(text: str, wanted: Wanted[Number]) -> tuple[Number, ...]:
    """Numbers with commas, semicolons, blanks or line ends between them; none for an empty text.

    Raises ValueError that quotes what is no number.
    """
    return tuple(wanted.number(piece, piece) for piece in _pieces(text, r"[,;\s]"))


def pairs(text: str, wanted: Wanted[Number]) -> list[Pair]:
    """Pairs with commas, semicolons or line ends between them.

    Raises ValueError that quotes what is no pair, and where there is none at all.
    """
    found = [_pair(piece, wanted) for piece in _pieces(text, "[,;]")]
    if not found:
        raise wanted.refused()
    return found


def _pieces(text: str, between: str) -> Iterator[str]:
    for line in text.splitlines():
        cut = re.split(between, line.partition("#")[0])
        yield from (piece.strip() for piece in cut if piece.strip())


def _pair(piece: str, wanted: Wanted[Number]) -> Pair:
    name, *rest = (part.strip() for part in re.split("[:=]", piece, maxsplit=1))
    if not rest:
        raise wanted.refused(piece)
    return Pair(piece, name, rest[0])
