"""Tests of ip_adapter_core/plots/heat_map.py: heat lies where the maps have it, in colours that the bar explains."""

import numpy as np
import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.attention.attention_map import MAP_KINDS, Maps
from comfyui_ip_adapter.ip_adapter_core.plots.drawing import PAPER
from comfyui_ip_adapter.ip_adapter_core.plots.heat_map import ROW, TILE, blend, colours, draw

MARGIN, TITLE = 24, 44
TOP = MARGIN // 2 + TITLE  # of the first map


def image(height: int = 64, width: int = 64) -> Tensor:
    return torch.rand(height, width, 3, generator=torch.Generator().manual_seed(0))


def maps(*found: Tensor) -> Maps:
    names = tuple(f"reference {number + 1}" for number in range(len(found)))
    return Maps(MAP_KINDS["influence"], names, torch.stack(found))


def halves(height: int = 64, width: int = 64) -> Tensor:
    """2 in the left half, 0 in the right."""
    found = torch.zeros(height, width)
    found[:, : width // 2] = 2
    return found


def pixels(image: Tensor, maps: Maps, opacity: float = 1.0) -> np.ndarray:
    return np.asarray(draw(image, maps, opacity)).astype(float) / 255


def lightness(rgb: np.ndarray) -> np.ndarray:
    """L of OKLab (bottosson.github.io/posts/oklab) of sRGB colours (…, 3)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    to_cones.append([0.0883024619, 0.2817188376, 0.6299787005])
    return np.cbrt(linear @ np.array(to_cones).T) @ np.array([0.2104542553, 0.7936177850, -0.0040720468])


def test_colours_grow_evenly_lighter() -> None:
    steps = np.diff(lightness(colours(np.linspace(0, 1, 101))))
    assert (steps > 0.004).all()
    assert (steps < 0.012).all()


def test_heat_lies_where_the_map_has_it() -> None:
    seen = pixels(image(), maps(halves()))
    tile = seen[TOP : TOP + TILE, MARGIN : MARGIN + TILE]
    assert np.allclose(tile[:, : TILE // 2 - 8], colours(np.array(1.0)), atol=0.01)
    assert np.allclose(tile[:, TILE // 2 + 8 :], colours(np.array(0.0)), atol=0.01)


def test_maps_stand_side_by_side_and_then_below() -> None:
    count = ROW + 2
    found = [torch.full((64, 64), float(number)) for number in range(count)]
    seen = pixels(image(), maps(*found))
    for number in range(count):
        row, column = divmod(number, ROW)
        y = TOP + row * (TITLE + TILE + MARGIN) + TILE // 2
        x = MARGIN + column * (TILE + MARGIN) + TILE // 2
        assert np.allclose(seen[y, x], colours(np.array(number / (count - 1))), atol=0.01)


def test_all_maps_have_one_scale() -> None:
    weak = halves() / 4
    assert not np.array_equal(pixels(image(), maps(weak, halves())), pixels(image(), maps(halves(), halves())))


def test_the_bar_has_every_colour_of_the_maps_from_least_to_most() -> None:
    seen = pixels(image(), maps(halves()))
    rows = [y for y in range(TOP + TILE, len(seen)) if np.allclose(seen[y, MARGIN], colours(np.array(0.0)), atol=0.01)]
    assert len(rows) > 15
    bar = seen[rows[5], MARGIN : MARGIN + TILE]
    assert np.allclose(bar, colours(np.linspace(0, 1, TILE)), atol=0.01)


def test_the_bar_lies_under_all_maps_of_a_row() -> None:
    seen = pixels(image(), maps(halves(), halves()))
    rows = [y for y in range(TOP + TILE, len(seen)) if np.allclose(seen[y, MARGIN], colours(np.array(0.0)), atol=0.01)]
    assert np.allclose(seen[rows[5], -MARGIN - 1], colours(np.array(1.0)), atol=0.01)


def test_the_picture_shines_through_and_colours_stay_what_the_bar_says() -> None:
    flat = np.full((64, 64), 0.6)
    relief = image().mean(-1).numpy() - 0.5
    seen = blend(flat, relief, 0.6) / 255
    assert np.corrcoef(seen.mean(-1).ravel(), relief.ravel())[0, 1] > 0.9
    assert np.allclose(seen.mean((0, 1)), colours(np.array(0.6)), atol=0.03)


def test_heat_looks_alike_over_dark_and_bright_pictures() -> None:
    night, day = (pixels(torch.full((64, 64, 3), light), maps(halves()), 0.6) for light in (0.05, 0.95))
    assert np.allclose(night, day, atol=0.01)


def test_opacity_1_is_colours_alone_and_0_the_picture_alone() -> None:
    relief = image().mean(-1).numpy() - 0.5
    assert np.allclose(blend(halves().numpy() / 2, relief, 1.0) / 255, colours(halves().numpy() / 2), atol=0.003)
    assert np.allclose(blend(halves().numpy() / 2, relief, 0.0) / 255, (relief + 0.5)[..., None], atol=0.003)


def test_the_name_and_the_mean_of_each_map_are_written() -> None:
    one, two = (pixels(image(), maps(halves()))[:TOP] for _ in range(2))
    other = pixels(image(), maps(halves() + 1))[:TOP]
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)  # its mean
    named = Maps(MAP_KINDS["influence"], ("token 1",), halves()[None])
    assert not np.array_equal(one[:, : TILE // 2], pixels(image(), named)[:TOP, : TILE // 2])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (2048, 64), (64, 2048), (1, 1)])
def test_every_picture_is_drawn(height: int, width: int, channels: int) -> None:
    seen = draw(torch.rand(height, width, channels), maps(torch.rand(height, width)), 0.6)
    assert max(seen.size) < 2 * TILE


def test_nothing_is_written_over_the_edge() -> None:
    seen = pixels(image(), maps(halves() * 12345.678))
    edge = np.concatenate([seen[:2].reshape(-1, 3), seen[:, :2].reshape(-1, 3), seen[:, -2:].reshape(-1, 3)])
    assert np.allclose(edge * 255, tuple(bytes.fromhex(PAPER[1:])))
