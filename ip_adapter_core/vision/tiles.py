"""A large or long picture as overlapping square tiles: their positions, their pixels, and the masks of each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

MOST = 64  # tiles of a picture; each is encoded by itself and becomes a prompt of its own
_SHARES = 4096  # levels of a ramp: products of two levels are exact in float32, so that masks sum to exactly 1

_Span = tuple[int, int]


class Tile(NamedTuple):
    """A square part of a picture.

    box: its left, top, right and bottom in pixels, the last two excluded.
    """

    box: tuple[int, int, int, int]


def tiles(height: int, width: int, count: int) -> tuple[Tile, ...]:
    """The square tiles that together cover a picture of height x width pixels, row by row.

    count: tiles along the short side; along the long side as few as cover it, evenly overlapping. Raises ValueError
    when count is less than 1 or more than the short side has pixels, and when there would be more than MOST tiles.
    """
    short = min(height, width)
    if not 1 <= count <= short:
        raise ValueError(
            f"Set tiles to a number from 1 to {max(short, 1)}; a picture of {width}x{height} cannot "
            f"be cut into {count} along its short side."
        )
    side = -(-short // count)
    rows, columns = (_spans(length, side, max(count, -(-length // side))) for length in (height, width))
    if len(rows) * len(columns) > MOST:
        raise ValueError(
            f"Set tiles to less than {count}, or crop the picture; {width}x{height} with so many "
            f"along the short side makes {len(rows) * len(columns)} tiles, and at most {MOST} can be "
            "used."
        )
    return tuple(Tile((left, top, right, bottom)) for top, bottom in rows for left, right in columns)


def cut(images: Tensor, parts: Sequence[Tile]) -> Tensor:
    """The tiles of pictures: images (images, height, width, channels) -> (images·tiles, side, side, channels).

    The tiles of a picture are neighbours. Raises ValueError when the tiles are those of a picture of another size.
    """
    height, width = _size(parts)
    if tuple(images.shape[1:3]) != (height, width):
        size = f"{images.shape[2]}x{images.shape[1]}"
        raise ValueError(
            f"Cut the picture into tiles anew; these tiles are of a picture of {width}x{height}, and "
            f"this one has {size}."
        )
    boxes = (tile.box for tile in parts)
    crops = [images[:, top:bottom, left:right] for left, top, right, bottom in boxes]
    return rearrange(crops, "tiles images height width channels -> (images tiles) height width channels")


def masks(parts: Sequence[Tile], height: int, width: int) -> Tensor:
    """The mask of each tile over a result of height x width cells that stands for the whole picture, 0..1 in float32.

    Returns (tiles, height, width): 1 where a tile is alone, linear ramps where two overlap; the sum is exactly 1
    everywhere. The cells may be the picture's pixels or any other grid over it, such as that of a latent.
    """
    whole = _size(parts)
    rows = _shares({(top, bottom) for _, top, _, bottom in (tile.box for tile in parts)}, whole[0], height)
    columns = _shares({(left, right) for left, _, right, _ in (tile.box for tile in parts)}, whole[1], width)
    boxes = (tile.box for tile in parts)
    return torch.stack([rows[top, bottom][:, None] * columns[left, right] for left, top, right, bottom in boxes])


def _spans(length: int, side: int, count: int) -> list[_Span]:
    """Evenly spaced stretches of side pixels, the first at the start of a length and the last at its end."""
    gaps = max(count - 1, 1)
    # All rounded down, so that no stretch reaches into the next but one: at every pixel there is at most one ramp.
    starts = [number * (length - side) // gaps for number in range(count)]
    return [(start, start + side) for start in starts]


def _size(parts: Sequence[Tile]) -> tuple[int, int]:
    """Height and width of the picture that the tiles cover."""
    return max(tile.box[3] for tile in parts), max(tile.box[2] for tile in parts)


def _shares(spans: set[_Span], length: int, cells: int) -> dict[_Span, Tensor]:
    """For each stretch of a side, its share of every cell along that side, (cells,)."""
    ordered = sorted(spans)
    centres = (torch.arange(cells, dtype=torch.float64) + 0.5) * length / cells
    ramps = [_ramp(centres, *pair) for pair in pairwise(ordered)]
    edges = [torch.ones_like(centres), *ramps, torch.zeros_like(centres)]
    return {span: (edges[number] - edges[number + 1]).float() for number, span in enumerate(ordered)}


def _ramp(centres: Tensor, before: _Span, after: _Span) -> Tensor:
    """The share of the second of two stretches at each centre of a cell, 0..1; it rises where they overlap."""
    overlap = before[1] - after[0]
    if not overlap:
        return (centres >= after[0]).double()
    return (((centres - after[0]) / overlap).clamp(0, 1) * _SHARES).round() / _SHARES
