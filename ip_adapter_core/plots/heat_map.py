"""A picture of attention maps: each in colours over the greyed result, and a bar that says what the colours mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..attention.attention_map import Maps
from .axes import axis
from .drawing import FAINT, HEAT, INK, PAPER, font

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

TILE = 512  # pixels of the long side of each map; with several, a node shows them at a fraction of that
ROW = 4  # maps side by side

_WEIGHTS = (0.299, 0.587, 0.114)  # of red, green and blue in the grey of ITU-R BT.601
_LETTERS, _SMALL = 28, 22
_MARGIN, _GAP, _TITLE = 24, 24, 44
_WORDS, _BAR, _TICK, _NUMBERS = 40, 24, 8, 34  # heights in the legend
_NEAR = 0.15  # of the bar: between an end and the next number
_NARROWEST = 290  # pixels of a column: room for its title and for the legend


class _Layout(NamedTuple):
    """Where the maps are drawn.

    columns, rows: number of maps side by side, and one above the other.
    column: width of a column in pixels.
    tile: width and height of a map in pixels.
    """

    columns: int
    rows: int
    column: int
    tile: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture."""
        legend = _WORDS + _BAR + _TICK + _NUMBERS
        return (
            2 * _MARGIN + self.columns * (self.column + _GAP) - _GAP,
            _MARGIN // 2 + self.rows * (_TITLE + self.tile[1] + _GAP) + legend + _MARGIN // 2,
        )

    def corner(self, number: int) -> tuple[int, int]:
        """Left and top of a map's title."""
        row, column = divmod(number, self.columns)
        return _MARGIN + column * (self.column + _GAP), _MARGIN // 2 + row * (_TITLE + self.tile[1] + _GAP)


def draw(image: Tensor, maps: Maps, opacity: float) -> Image:
    """The maps over a picture, side by side under their names, and a bar with their numbers, as an RGB picture.

    image: (height, width, channels), 0..1; opacity: of the colours over it, 0..1.
    """
    from PIL import Image, ImageDraw

    layout = _layout(len(maps.names), *image.shape[:2])
    picture = Image.new("RGB", layout.size, PAPER)
    pen = ImageDraw.Draw(picture)
    grey = _resize(_grey(image), layout.tile)
    for number, mask in enumerate(maps.masks()):
        left, top = layout.corner(number)
        _name(pen, (left, top, left + layout.column), maps.names[number], float(maps.values[number].mean()))
        tile = blend(_resize(mask, layout.tile), grey - grey.mean(), opacity)
        picture.paste(Image.fromarray(tile), (left, top + _TITLE))
    _explain(picture, maps, opacity, layout.corner(layout.rows * layout.columns))
    return picture


def blend(numbers: np.ndarray, relief: np.ndarray | float, opacity: float) -> np.ndarray:
    """Colours of numbers 0..1 with a picture's light and shade: (height, width) each -> (height, width, 3), 8 bit.

    relief: how much lighter than the mean of the picture each pixel is. It is added to the colours, so that they stay
    as the bar shows them; a blend with the picture would make them pale. Below an opacity of 0.5 colours fade to grey.
    """
    strength = min(1.0, 2 * opacity)
    blended = strength * colours(numbers) + (1 - strength) / 2 + (1 - opacity) * np.asarray(relief)[..., None]
    return (blended.clip(0, 1) * 255).round().astype(np.uint8)


def colours(numbers: np.ndarray) -> np.ndarray:
    """The colour of each number 0..1, (…) -> (…, 3), 0..1: the higher the number, the lighter."""
    table = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in HEAT])
    positions = np.linspace(0, 1, len(table))
    return np.stack([np.interp(numbers, positions, channel) for channel in table.T], axis=-1)


def _grey(image: Tensor) -> Tensor:
    """(height, width, channels) -> (height, width); one channel, three, or four with alpha."""
    pixels = image[..., :3].detach().cpu().float().clamp(0, 1)
    return pixels.expand(*pixels.shape[:2], 3) @ torch.tensor(_WEIGHTS)


def _resize(plane: Tensor, size: tuple[int, int]) -> np.ndarray:
    resized = interpolate(plane[None, None], (size[1], size[0]), mode="bilinear", antialias=True)
    return resized[0, 0].clamp(0, 1).numpy()


def _layout(count: int, height: int, width: int) -> _Layout:
    scale = TILE / max(height, width)
    tile = max(1, round(width * scale)), max(1, round(height * scale))
    columns = min(count, ROW)
    return _Layout(columns, math.ceil(count / columns), max(tile[0], _NARROWEST), tile)


def _name(pen: ImageDraw, edges: tuple[int, int, int], name: str, mean: float) -> None:
    left, top, right = edges
    pen.text((left, top + _TITLE / 2), name, INK, font(_LETTERS), "lm")
    pen.text((right, top + _TITLE / 2), f"mean {mean:.2g}", FAINT, font(_SMALL), "rm")


def _explain(picture: Image, maps: Maps, opacity: float, corner: tuple[int, int]) -> None:
    """Draw the bar of colours with its numbers, and above it what the numbers mean."""
    from PIL import Image, ImageDraw

    pen = ImageDraw.Draw(picture)
    (left, top), width = corner, picture.width - 2 * _MARGIN
    pen.text((left, top + _WORDS / 2), maps.show.words, INK, font(_SMALL), "lm")
    bar = blend(np.linspace(0, 1, width)[None].repeat(_BAR, axis=0), 0.0, opacity)
    picture.paste(Image.fromarray(bar), (left, top + _WORDS))
    edge = top + _WORDS + _BAR
    x = axis(*maps.ends).scale_to(left, left + width - 1)
    for number, anchor in _numbers(*maps.ends):
        pen.line([(x(number), edge), (x(number), edge + _TICK)], fill=FAINT, width=2)
        pen.text((x(number), edge + _TICK + _NUMBERS / 2), f"{number:.3g}", INK, font(_SMALL), anchor)


def _numbers(least: float, most: float) -> list[tuple[float, str]]:
    """What is written under the bar and where PIL anchors it: both ends, inside them, and round numbers between."""
    near = _NEAR * (most - least)
    between = [number for number in axis(least, most).ticks if least + near < number < most - near]
    return [(least, "lm"), *((number, "mm") for number in between), (most, "rm")]
