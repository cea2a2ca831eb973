"""The picture of a template: a square, with nothing cut, and what went in over the lower edge."""

import numpy as np
import pytest
from PIL import Image, ImageChops

from live.cards import EDGE, FOOT, INSET, NEEDED, SIDE, card, of_editor, together
from live.small_world_graphs import with_twin
from live.thumbnails import PALE, Saved, drawn, shown
from live.ui_graphs import TWIN, named, originals, place, read

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


def test_a_picture_of_the_editor_is_whole_above_its_words() -> None:
    for size in ((600, 300), (300, 600)):
        paper = of_editor(plain(RED, size), "")
        found = np.argwhere((np.asarray(paper) == RED).all(axis=-1))
        height, width = np.ptp(found, axis=0) + 1
        assert width / height == pytest.approx(size[0] / size[1], rel=0.02)
        assert found[:, 0].max() < SIDE - FOOT


def test_of_a_reference_with_a_mask_what_is_not_read_is_pale() -> None:
    graph = read(place(f"{TWIN}masked_reference"))
    (node,) = drawn(graph)
    marked = np.asarray(shown(node, graph)).astype(int)
    assert marked[0].min() > 255 * PALE - 1
    middle = marked[96:160, 96:160]
    assert middle.min() < 128


def test_the_words_stand_below_it() -> None:
    said, silent = (of_editor(plain(RED, (600, 300)), words) for words in ("needs Flux", ""))
    changed = ImageChops.difference(said, silent).getbbox()
    assert changed is not None
    assert changed[1] >= SIDE - FOOT


def test_each_graph_without_a_result_says_what_it_needs() -> None:
    assert NEEDED.keys() == {named(path) for path in {*originals()} - {*with_twin()}}
