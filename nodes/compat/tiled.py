"""What the old pack's nodes for tiles do: every tile of a reference acts by itself in its part of the picture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...ip_adapter_core.compat.square_tiles import Tiles, masked_tiles, square_tiles
from .applying import apply_ipadapter
from .numbers import numbers_of


def apply_tiled(
    model: Any, ipadapter: Any, image: Tensor, attn_mask: Tensor | None = None, sharpening: float = 0.0, **given: Any
) -> tuple[Any, Tensor, Tensor]:
    """A MODEL that follows the tiles of pictures; the tiles, and the masks of where each acts."""
    tiles = square_tiles(image, attn_mask, sharpening)
    if numbers_of(given.get("numbers")).shares_overlaps:
        tiles = tiles.sharing()
    return _apply_each(model, ipadapter, tiles, **given), torch.cat(tiles.pictures), torch.cat(tiles.masks)


def apply_masked(
    model: Any,
    ipadapter: Any,
    image: Tensor,
    short_side_tiles: int = 1,
    tile_weight: float = 0.6,
    noise: float = 0.0,
    **given: Any,
) -> tuple[Any]:
    """A MODEL that follows the tiles of a picture, in the manner of before version 2."""
    tiles = masked_tiles(image, short_side_tiles, tile_weight)
    return (_apply_each(model, ipadapter, tiles, noise=noise, old_words=True, **given),)


def _apply_each(model: Any, ipadapter: Any, tiles: Tiles, **given: Any) -> Any:
    for picture, mask in zip(tiles.pictures, tiles.masks, strict=True):
        model, _ = apply_ipadapter(model, ipadapter, image=picture, attn_mask=mask, **given)
    return model
