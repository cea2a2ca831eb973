"""Lists that users write, such as `1, 0.5` or `0:1, 10:0.5`: how they are cut into pieces and how numbers are read.

A line may end with a comment after a #.
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
    """What a list must contain.

    what: name of the list in messages.
    form: how to write it, in messages.
    read: reads one number, or raises ValueError.
    """

    what: str
    form: str
    read: Callable[[str], Number]

    def make_error(self, piece: str = "") -> ValueError:
        """The error of a piece that cannot be read; without a piece, the error of an empty list."""
        return ValueError(f"Write {self.what} as {self.form}; found {quoted(piece) if piece else 'nothing'}.")

    def number(self, text: str, piece: str) -> Number:
        """A finite number from a text. Raises ValueError that quotes the piece of the list."""
        try:
            number = self.read(text)
        except ValueError:
            raise self.make_error(piece) from None
        if not abs(number) < math.inf:
            raise self.make_error(piece)
        return number


class NamedNumber(NamedTuple):
    """A piece of a list that has two sides.

    piece: the text as it was written.
    name: what stands before the : or =.
    number: what stands after it.
    """

    piece: str
    name: str
    number: str


def numbers(text: str, wanted: Wanted[Number]) -> tuple[Number, ...]:
    """The numbers of a text, separated by commas, semicolons, blanks or line ends; none for an empty text.

    Raises ValueError that quotes the piece that is no number.
    """
    return tuple(wanted.number(piece, piece) for piece in _pieces(text, r"[,;\s]"))


def pairs(text: str, wanted: Wanted[Number]) -> list[NamedNumber]:
    """The pairs of a text, separated by commas, semicolons or line ends.

    Raises ValueError that quotes the piece that is no pair, and when there is no pair at all.
    """
    read = [_pair(piece, wanted) for piece in _pieces(text, "[,;]")]
    if not read:
        raise wanted.make_error()
    return read


def _pieces(text: str, separator: str) -> Iterator[str]:
    for line in text.splitlines():
        pieces = re.split(separator, line.partition("#")[0])
        yield from (piece.strip() for piece in pieces if piece.strip())


def _pair(piece: str, wanted: Wanted[Number]) -> NamedNumber:
    name, *rest = (part.strip() for part in re.split("[:=]", piece, maxsplit=1))
    if not rest:
        raise wanted.make_error(piece)
    return NamedNumber(piece, name, rest[0])
