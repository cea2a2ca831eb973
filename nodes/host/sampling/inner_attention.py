"""Image prompts inside the attention of a block of Flux, so that the block projects and gates them.

    attended = Attn(…) + Σ λ·Attn(Q, K', V')

In a double block these are the picture's rows. A single block has one stream, and texts take images too; they stand
nowhere in the picture, so that a mask counts for them by its mean.

What the host says: patches of the output of attention are handed texts and picture in one stream, texts first. Ours is
the first of them, and in the options of that block alone.
"""

from __future__ import annotations

from functools import partial
from math import prod

import torch
from torch import Tensor

from ....ip_adapter_core.attention.grouped import MasksByGrid
from ..warn import warn_once
from . import dit_blocks, flux_queries
from .dit_blocks import Block, Place
from .layer_options import Options, address_of, grid_of
from .layer_patch import PREPARED, ROWS, add_images

AFTER = "attn1_output_patch"
"""The key of the patches that are called after the attention of a block."""


def add_inside(block: Block, place: Place, args: Options) -> Options:
    """A block whose attention has images added."""
    options = args.get("transformer_options") or {}
    texts = args["txt"].shape[1] if "txt" in args else options.get("img_slice", (0,))[0]
    watched, found = flux_queries.watch(place.block, args)
    return block(flux_queries.with_patch(watched, AFTER, partial(_add, place, found, texts)))


def _add(place: Place, found: list[Tensor], texts: int, attended: Tensor, extra_options: Options) -> Tensor:
    """An attention patch: (batch, tokens, inner), of texts and then of the picture.

    found: the queries of all tokens, or of the picture's. Tokens behind the picture's are of reference latents, and
    stay as they are.
    """
    q, options = found[0].transpose(1, 2).flatten(2), place.options
    before = attended.shape[1] - q.shape[1]
    end = texts + prod(grid_of(options))
    if len(q) != options[ROWS] or before not in (0, texts) or end > attended.shape[1]:
        warn_once(dit_blocks.UNKNOWN_TOKENS)
        return attended
    picture = add_images(attended[:, texts:end], q[:, texts - before : end - before], options, in_place=False)
    first = attended[:, :texts]
    if texts and not before:
        first = add_images(first, q[:, :texts], _of_texts(options, texts), in_place=False)
    return torch.cat([first, picture, attended[:, end:]], dim=1)


def _of_texts(options: Options, texts: int) -> Options:
    """Options of a layer for its texts, where masks are their mean."""
    address, grid = address_of(options), (1, texts)
    images = options[PREPARED][address]
    spread = tuple(
        image._replace(masks={grid: _mean(image.masks, texts)}) if image.masks else image for image in images
    )
    return {**options, "activations_shape": grid, PREPARED: {address: spread}}


def _mean(masks: MasksByGrid, texts: int) -> Tensor:
    """The mean of masks over the picture, for each text token: (rows, texts, groups)."""
    return next(iter(masks.values())).mean(1, keepdim=True).expand(-1, texts, -1)
