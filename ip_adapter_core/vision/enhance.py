"""A picture encoded in parts, each of the size that the encoder reads, and put together to the features of one."""

from __future__ import annotations

import torch
from einops import rearrange, reduce
from torch import Tensor

MOST_PARTS = 16  # along a side


def cut_parts(images: Tensor, side: int) -> Tensor:
    """The parts of pictures, side x side of each: (images·side², height/side, width/side, channels), row by row."""
    height, width = (length // side for length in images.shape[1:3])
    whole = images[:, : height * side, : width * side]
    return rearrange(whole, "n (rows h) (columns w) c -> (n rows columns) h w c", rows=side, columns=side)


def join_hidden(parts: Tensor, side: int) -> Tensor:
    """Hidden states of parts (images·side², 1 + patches, width) as those of pictures (images, 1 + patches, width).

    The patches of all parts lie on one large grid, which is averaged to the encoder's own; so are the class tokens.
    """
    grid = int((parts.shape[1] - 1) ** 0.5)
    whole = rearrange(
        parts[:, 1:], "(n rows columns) (h w) d -> n d (rows h) (columns w)", rows=side, columns=side, h=grid
    )
    pooled = torch.nn.functional.adaptive_avg_pool2d(whole, (grid, grid))
    classes = reduce(parts[:, :1], "(n parts) one d -> n one d", "mean", parts=side * side)
    return torch.cat([classes, rearrange(pooled, "n d h w -> n (h w) d")], dim=1)


def join_embeds(parts: Tensor, side: int) -> Tensor:
    """Embeds (images·side², width) of parts as those of whole pictures (images, width): their average."""
    return reduce(parts, "(n parts) d -> n d", "mean", parts=side * side)


def join_embeds_as_grid(parts: Tensor, side: int) -> Tensor:
    """As `join_embeds`, with the numbers of IPAdapter Plus, which takes an embedding for a square picture.

    It knows only widths that are squares of a number, such as 1024; others are averaged.
    """
    grid = int(parts.shape[1] ** 0.5)
    if grid * grid != parts.shape[1]:
        return join_embeds(parts, side)
    whole = rearrange(parts, "(n rows columns) (h w) -> n 1 (rows h) (columns w)", rows=side, columns=side, h=grid)
    return torch.nn.functional.adaptive_avg_pool2d(whole, (grid, grid)).flatten(1)


def mix(whole: Tensor, parts: Tensor, ratio: float) -> Tensor:
    """The features of whole pictures and of their parts.

    Those of several pictures are averaged, with ratio as the share of the whole ones; those of one picture stand beside
    each other, the whole one multiplied with ratio.
    """
    if len(whole) > 1:
        return whole * ratio + parts * (1 - ratio)
    return torch.cat([whole * ratio, parts])
