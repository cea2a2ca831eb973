"""The picture of a moodboard: a row for each reference, and the mix, in which each has the layers of its role."""

from collections.abc import Iterable

import numpy as np
import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.layout import layers
from comfyui_ip_adapter.ip_adapter_core.plots import moodboard as plot
from comfyui_ip_adapter.ip_adapter_core.plots.transition import colour
from comfyui_ip_adapter.ip_adapter_core.settings.moodboard import ROLES
from comfyui_ip_adapter.ip_adapter_core.settings.span import WHOLE, Span

MODELS = {name: layers(CONFIGS[name]) for name in ("SD1.5", "SDXL")}
BARS = slice(136, 690)  # columns of a row that hold bars


def entries(model: str, *uses: tuple[str, float]) -> list[plot.Entry]:
    grey = torch.full((8, 8, 3), 0.5)
    return [plot.Entry(grey, role, weight, weight, ROLES[role].bars(MODELS[model])) for role, weight in uses]


def drawn(made: Iterable[plot.Entry]) -> np.ndarray:
    return np.asarray(plot.draw(list(made)))


def of(picture: np.ndarray, number: int) -> np.ndarray:
    """Where a picture has the colour of a reference."""
    return (picture == tuple(bytes.fromhex(colour(number)[1:]))).all(axis=-1)


def together(picture: np.ndarray) -> np.ndarray:
    return picture[-plot.TOGETHER :, BARS]


@pytest.mark.parametrize("model", MODELS)
def test_every_reference_has_a_row_and_its_colour_in_the_mix(model: str) -> None:
    uses = [("style", 1.0), ("composition", 0.8), ("avoid", 0.5), ("all", 0.3)]
    picture = drawn(entries(model, *uses))
    assert picture.shape == (len(uses) * plot.ROW + plot.TOGETHER, plot.WIDTH, 3)
    for number in range(len(uses)):
        row = picture[number * plot.ROW : (number + 1) * plot.ROW]
        assert of(row[:, BARS], number).any()
        assert of(together(picture), number).any()
        assert not any(of(row, other).any() for other in range(len(uses)) if other != number)
        assert (row[30:100, 30:100] == 128).all()  # the thumbnail


def test_bars_stand_where_the_role_acts() -> None:
    picture = drawn(entries("SDXL", ("style", 1.0), ("composition", 1.0)))
    style, composition = (of(together(picture), number).any(axis=0) for number in range(2))
    assert not (style & composition).any()
    assert composition.argmax() < style.argmax()  # input blocks run before output blocks


def test_the_stronger_has_the_larger_share() -> None:
    picture = together(drawn(entries("SD1.5", ("all", 0.9), ("all", 0.3))))
    assert of(picture, 0).sum() == pytest.approx(3 * of(picture, 1).sum(), rel=0.05)


def test_what_is_avoided_reaches_down() -> None:
    picture = together(drawn(entries("SD1.5", ("all", 1.0), ("avoid", 1.0))))
    towards, away = (np.flatnonzero(of(picture, number).any(axis=1)) for number in range(2))
    assert towards.max() < away.min()


def test_a_board_of_zeros_is_drawn_without_bars() -> None:
    picture = drawn(entries("SD1.5", ("all", 0.0), ("style", 0.0)))
    assert not any(of(picture[:, BARS], number).any() for number in range(2))


def test_a_time_is_drawn_as_its_part_of_a_bar() -> None:
    def length(span: Span) -> int:
        (made,) = entries("SD1.5", ("all", 0.0))
        return int(of(drawn([made._replace(span=span)])[: plot.ROW, BARS], 0).any(axis=0).sum())

    assert [length(span) for span in (Span(0.0, 0.9999), Span(0.2, 0.7), Span(0.5, 0.5))] == [180, 90, 0]


@pytest.mark.parametrize("span", [Span(0.25, 1.0), Span(2, 10, "steps")], ids=str)
def test_only_a_time_that_is_not_always_is_shown(span: Span) -> None:
    def words(shown: Span) -> np.ndarray:
        (made,) = entries("SD1.5", ("all", 1.0))
        return drawn([made._replace(span=shown)])[: plot.ROW, 330:540]

    above = slice(0, 48)  # the bars
    assert len(np.unique(words(WHOLE)[above])) == len(np.unique(words(WHOLE)[:2]))
    assert (words(span)[above] != words(WHOLE)[above]).any()
    assert np.array_equal(words(span)[50:], words(WHOLE)[50:])


@pytest.mark.parametrize("span", [Span(0.123, 0.987), Span(1234, 10000, "steps")], ids=str)
def test_words_of_the_time_touch_no_others(span: Span) -> None:
    (made,) = entries("SD1.5", ("composition", 0.0))
    row = drawn([made._replace(strength=1.25, span=span)])[: plot.ROW]
    blank = (row[10:45] == row[0, 0]).all(axis=(0, 2))
    assert blank[312:346].all() and blank[550:560].all()
