"""Tests of ip_adapter_core/plots/drawing.py: one palette, and words that are legible on what lies under them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ImageColor, ImageDraw

from comfyui_ip_adapter.ip_adapter_core.attention.attention_map import MAP_KINDS, Maps
from comfyui_ip_adapter.ip_adapter_core.plots import (
    drawing,
    grid_sheet,
    heat_map,
    layer_bars,
    loss,
    schedule,
    score_table,
    transition,
)
from comfyui_ip_adapter.ip_adapter_core.prompts.transitions import Transition
from comfyui_ip_adapter.ip_adapter_core.settings.curves import Curve
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import from_weight_type
from comfyui_ip_adapter.ip_adapter_core.settings.schedule import Schedule
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import custom
from comfyui_ip_adapter.ip_adapter_core.vision.scores import Scores

LEGIBLE = 4.5  # of WCAG 2.1, 1.4.3, for text
SEEN = 3.0  # of WCAG 2.1, 1.4.11, for what is no text


def luminance(colour: str | tuple[int, ...]) -> float:
    """The relative luminance of WCAG 2.1 of an sRGB colour."""
    levels = ImageColor.getrgb(colour) if isinstance(colour, str) else colour
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in (level / 255 for level in levels)]
    return sum(share * light for share, light in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str | tuple[int, ...], other: str | tuple[int, ...]) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def scores() -> Scores:
    return Scores(torch.linspace(0, 1, 27).reshape(9, 3), torch.linspace(0, 1, 18).reshape(9, 2), ("a cat", "a dog"))


def pictures() -> Iterator[Any]:
    """Every sort of picture, with all that can be written in it."""
    for name in ("composition precise", "style and composition"):
        yield layer_bars.draw(from_weight_type(name), layer_bars.EXAMPLES)
    yield layer_bars.draw(custom("input.1 = 1"), layer_bars.EXAMPLES)
    yield schedule.draw(Schedule((Curve("linear", "steps"), Curve("cosine", "percent"), Curve("constant", "steps"))), 9)
    yield transition.draw(Transition(60, loop=True).check(9))
    yield heat_map.draw(torch.rand(64, 64, 3), Maps(MAP_KINDS["influence"], ("one", "two"), torch.rand(2, 8, 8)), 0.6)
    yield loss.draw([1.0, 0.5, 0.7])
    yield score_table.draw(scores(), torch.rand(9, 8, 8, 3), torch.rand(3, 8, 8, 3))
    label = grid_sheet.Label("weight 0.5")
    yield grid_sheet.draw([torch.zeros(8, 8, 3)], grid_sheet.Labels([label], [label]))


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("ink", [drawing.INK, drawing.FAINT, *drawing.SERIES])
def test_inks_are_legible_on_the_paper(ink: str) -> None:
    assert contrast(ink, drawing.PAPER) >= LEGIBLE


@pytest.mark.parametrize("number", range(0, 101, 5))
def test_numbers_are_legible_on_every_colour_of_heat(number: int) -> None:
    colour = heat_map.colours(np.array(number / 100))
    assert contrast(drawing.ink_on(colour), tuple((colour * 255).round().astype(int).tolist())) >= LEGIBLE


@pytest.mark.parametrize("mark", [drawing.STYLE, drawing.COMPOSITION])
def test_words_are_legible_in_their_marks(mark: drawing.Mark) -> None:
    assert contrast(mark.ink, mark.paper) >= LEGIBLE


def test_lines_are_seen_on_the_paper() -> None:
    assert min(contrast(line, drawing.PAPER) for line in (drawing.EDGE, drawing.DIM_BLUE)) >= SEEN


def test_every_word_of_every_picture_is_legible_on_what_lies_under_it(monkeypatch: pytest.MonkeyPatch) -> None:
    write, seen = ImageDraw.ImageDraw.text, []

    def note(pen: Any, xy: Any, text: str, fill: str, *rest: Any, **more: Any) -> None:
        image = pen._image
        at = tuple(min(max(round(place), 0), most - 1) for place, most in zip(xy, image.size, strict=True))
        seen.append((text, contrast(fill, image.getpixel(at))))
        write(pen, xy, text, fill, *rest, **more)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    assert len(list(pictures())) == 9
    assert len(seen) > 150
    assert not [(text, ratio) for text, ratio in seen if ratio < LEGIBLE]


def test_no_plot_has_a_colour_of_its_own() -> None:
    rooms = Path(drawing.__file__).parent
    files = [file for file in rooms.glob("*.py") if file.name != "drawing.py"]
    assert len(files) > 5
    assert not [file.name for file in files if re.search(r'"#[0-9a-fA-F]{3,8}"', file.read_text(encoding="utf-8"))]
