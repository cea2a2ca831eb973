"""Position embeddings of a vision tower's patches, and their interpolation for pictures of another size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor


class Positions(NamedTuple):
    """The learned position embeddings of a square grid of patches.

    key: name of their tensor in the tower.
    grid: number of patches along a side in training.
    others: number of embeddings before them, such as that of CLS.
    """

    key: str
    grid: int
    others: int


def find_positions(visual: Any) -> Positions | None:
    """The position embeddings of an OpenCLIP tower; None when it has none, like ResNets, or rotary ones."""
    if hasattr(visual, "transformer"):
        return _square("positional_embedding", visual.positional_embedding, visual.image_size, visual.patch_size)
    trunk = getattr(visual, "trunk", None)
    embeddings = getattr(trunk, "pos_embed", None)
    if trunk is None or embeddings is None or getattr(trunk, "rope", None) is not None:
        return None
    if not hasattr(trunk, "set_input_size"):
        return None
    return _square("trunk.pos_embed", embeddings, trunk.patch_embed.img_size, trunk.patch_embed.patch_size)


def interpolate(embeddings: Tensor, positions: Positions, grid: int) -> Tensor:
    """Position embeddings of grid x grid patches, (…, others + grid², width), bicubic in float32; others stay.

    Growing equals transformers' `interpolate_pos_encoding`; shrinking is antialiased. The trained grid changes nothing.
    """
    from timm.layers.pos_embed import resample_abs_pos_embed

    sequence = embeddings.reshape(1, *embeddings.shape[-2:])
    shrinks = grid < positions.grid  # torch's antialiased bicubic has another kernel, which differs also when growing
    resized = resample_abs_pos_embed(sequence, [grid, grid], num_prefix_tokens=positions.others, antialias=shrinks)
    return resized.reshape(*embeddings.shape[:-2], *resized.shape[1:])


def _square(key: str, embeddings: Tensor, image: Sequence[int], patch: Sequence[int]) -> Positions | None:
    rows, columns = (length // side for length, side in zip(image, patch, strict=True))
    others = embeddings.shape[-2] - rows * columns
    return Positions(key, rows, others) if rows == columns and others >= 0 else None
