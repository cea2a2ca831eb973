"""The picture of a template: a square, with nothing cut, and what went in over the lower edge."""

import pytest
from PIL import Image

from live.cards import EDGE, INSET, SIDE, card, of_editor, together
from live.thumbnails import Saved
from live.ui_graphs import TWIN, place, read

RED, BLUE = (255, 0, 0), (0, 0, 255)
OF_TWO = place(f"{TWIN}several_images")


def plain(colour: tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> Image.Image:
    """A picture of one colour."""
    return Image.new("RGB", size, colour)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 16])
def test_every_picture_is_on_the_card(count: int) -> None:
    colours = [(place * 10, 255 - place * 10, 99) for place in range(count)]
    paper = together([plain(colour) for colour in colours])
    assert paper.size == (SIDE, SIDE)
    assert {colour for _, colour in paper.getcolors(9999) or []} >= set(colours)


def test_a_single_picture_fills_it() -> None:
    assert together([plain(RED)]).getcolors() == [(SIDE * SIDE, RED)]


def test_a_wide_picture_is_not_cut() -> None:
    wide = plain(RED, (200, 100))
    wide.paste(BLUE, (0, 0, 4, 100))
    wide.paste(BLUE, (196, 0, 200, 100))
    paper = together([wide])
    assert paper.getpixel((2, SIDE // 2)) == paper.getpixel((SIDE - 3, SIDE // 2)) == BLUE


def test_references_lie_over_the_lower_edge() -> None:
    paper = card(read(OF_TWO), [Saved("", [plain(RED)])])
    white = [paper.getpixel((EDGE + 1 + place * (INSET + EDGE), SIDE - EDGE - INSET // 2)) for place in (0, 1, 2)]
    assert white == [(255, 255, 255), (255, 255, 255), RED]


def test_a_picture_of_the_editor_is_whole() -> None:
    assert of_editor(plain(RED, (600, 300))).getpixel((0, SIDE // 2)) == RED
