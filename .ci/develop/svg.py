"""Boxes, arrows and words of a picture, as the text of an SVG file that is read on light and on dark pages."""

import textwrap
from collections.abc import Iterable
from html import escape
from typing import NamedTuple

TITLE, LINE = 28, 15  # heights of a box's title and of a line of text
LETTER, BOLD = 7.2, 8.2  # how wide letters may be on average, in the widest of the usual fonts
PAPER, INK, FAINT, DATA = "#fdfbf6", "#1f2d3a", "#566472", "#b4470f"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


class Box(NamedTuple):
    """A rectangle with a title and lines below it."""

    x: float
    y: float
    width: float
    height: float
    title: str = ""
    lines: tuple[str, ...] = ()

    @property
    def bottom(self) -> float:
        """Where it ends."""
        return self.y + self.height


Boxes = dict[str, Box]


def wrapped(words: str, width: float) -> tuple[str, ...]:
    """Words in lines no wider than this."""
    return tuple(textwrap.wrap(words, int(width / LETTER)))


def box(x: float, y: float, width: float, title: str, words: str = "") -> Box:
    """A box as high as its words need."""
    lines = wrapped(words, width - 16)
    return Box(x, y, width, TITLE + LINE * len(lines) + (6 if lines else 0), title, lines)


def level(boxes: Iterable[Box]) -> Boxes:
    """The boxes of a row by their names, all as high as the highest."""
    row = tuple(boxes)
    height = max(each.height for each in row)
    return {each.title: each._replace(height=height) for each in row}


def bottom(boxes: Boxes) -> float:
    """Where the lowest of them ends."""
    return max(each.bottom for each in boxes.values())


def page(parts: Iterable[str], width: float, height: float, label: str) -> str:
    """The parts on light paper of their own; label: what the picture is, for those who do not see it."""
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="9" markerHeight="9" orient="auto"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}" role="img" aria-label="{label}">',
            f'<defs>{tip} markerUnits="userSpaceOnUse"><path d="M0 0 8 4 0 8z" fill="{DATA}"/></marker></defs>',
            rectangle(Box(0, 0, width, height), (PAPER, PAPER), 14),
            *parts,
            "</svg>\n",
        ]
    )


def words(x: float, y: float, title: str, said: str, width: float) -> Iterable[str]:
    """The name of an area, and what it says of itself below."""
    yield text(x, y, title, 15, "bold")
    for number, line in enumerate(wrapped(said, width)):
        yield text(x, y + 18 + LINE * number, line, 12, fill=FAINT)


def filled(area: Box, colours: tuple[str, str], weight: str = "normal") -> str:
    """A box with its words."""
    middle = area.x + area.width / 2
    said = [text(middle, area.y + 19, area.title, 14 if weight == "bold" else 13, weight, anchor="middle")]
    for number, line in enumerate(area.lines):
        said.append(text(middle, area.y + 37 + LINE * number, line, 12, fill=FAINT, anchor="middle"))
    return "\n".join([rectangle(area, colours, 8), *said])


def rectangle(area: Box, colours: tuple[str, str], radius: int) -> str:
    """A rectangle with round corners; colours: of its inside and its edge."""
    inside, edge = colours
    size = f'x="{area.x:g}" y="{area.y:g}" width="{area.width:g}" height="{area.height:g}"'
    return f'<rect {size} rx="{radius}" fill="{inside}" stroke="{edge}"/>'


def pill(x: float, y: float, what: str) -> str:
    """The name of data, on its arrow."""
    width = BOLD * len(what) + 16
    area = Box(x - width / 2, y - 10, width, 20)
    return "\n".join([rectangle(area, (DATA, DATA), 10), text(x, y + 4, what, 12, "bold", "#ffffff", "middle")])


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """A straight arrow."""
    return f'<path d="M{x:g} {y:g} {to_x:g} {to_y:g}" stroke="{DATA}" stroke-width="2" marker-end="url(#tip)"/>'


def text(
    x: float, y: float, said: str, size: int, weight: str = "normal", fill: str = INK, anchor: str = "start"
) -> str:
    """Words in one line."""
    look = f'font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}"'
    return f'<text x="{x:g}" y="{y:g}" {look}>{escape(said, quote=False)}</text>'
