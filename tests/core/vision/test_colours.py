"""Colours of menus and written ones."""

import pytest

from comfyui_ip_adapter.ip_adapter_core.vision.colours import COLOURS, WRITTEN, colour_of, read_colour
from comfyui_ip_adapter.ip_adapter_core.vision.preprocess import CLIP_MEAN


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("#ff8000", (255, 128, 0)),
        (" #F80 ", (255, 136, 0)),
        ("white", (255, 255, 255)),
        ("rgb(1, 2, 3)", (1, 2, 3)),
        ("#01020304", (1, 2, 3)),
    ],
)
def test_a_colour_is_read_as_web_pages_write_it(text: str, levels: tuple[int, ...]) -> None:
    assert read_colour(text) == tuple(level / 255 for level in levels)


@pytest.mark.parametrize("text", ["", "ff8000", "#12345", "greenish", "#gggggg", "1, 2, 3"])
def test_what_is_no_colour_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^Write colour as #rrggbb, such as #808080, or by its name; found "):
        read_colour(text)


def test_a_word_of_the_menu_needs_no_colour_that_is_written() -> None:
    assert [colour_of(word, "nonsense") for word in COLOURS] == [CLIP_MEAN, (0, 0, 0), (1, 1, 1)]
    assert colour_of(WRITTEN, "#ff0000") == (1, 0, 0)
