"""Patches that add image prompts to the blocks of Flux: those of InstantX inside, and those of XLabs behind.

    picture = Block(picture) + Σ λ·Attn(Q, K', V')

The picture's tokens are its patches in rows. Tokens behind them are of reference latents, and stay as they are.
"""

from __future__ import annotations

from itertools import chain
from math import prod
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher

from ....ip_adapter_core.layers.double_stream import BEHIND, INSIDE, SINGLE
from ....ip_adapter_core.settings.masks import Grid
from ..warn import warn_once
from . import dit_blocks, flux_queries, inner_attention
from .dit_blocks import Block, Place
from .layer_options import Address, Options, grid_of
from .layer_patch import ROWS, add_images
from .prepared_layers import ImagesByLayer


def check(model: ModelPatcher) -> None:
    """Raises ValueError for a Flux model whose blocks another pack has built in a way of its own."""
    blocks = getattr(model.model.diffusion_model, "double_blocks", None)
    if blocks is None or not all(hasattr(block, "img_attn") for block in blocks):
        raise ValueError(
            "Load this Flux model with a loader of ComfyUI's own, such as Load Diffusion Model; the blocks of this one "
            "are another pack's, and take no image prompts."
        )


def add_patches(options: Options, images: ImagesByLayer, network: Any, latent: Grid) -> Options:
    """Options whose patches add the attention to images to whatever each block computes.

    network: the host's Flux. latent: height and width of the latent picture.
    """
    grid = tuple(-(-length // network.patch_size) for length in latent)
    blocks = {address: _block(network, address) for address in images}
    places = {
        address: Place(block, _ADD[address[-1]], dit_blocks.options_of(address, block.num_heads, images, options, grid))
        for address, block in blocks.items()
    }
    return dit_blocks.add_patches(options, places)


def foreign_patches(options: Options, images: ImagesByLayer) -> list[Any]:
    """The patches of other packs on the blocks that have ours, None for a block without any, and of attention."""
    of_attention = (flux_queries.patches_of(options, key) for key in (flux_queries.BEFORE, inner_attention.AFTER))
    return [*dit_blocks.foreign_patches(options, images), *chain.from_iterable(of_attention)]


def _block(network: Any, address: Address) -> Any:
    stage, number, _ = address
    return (network.single_blocks if stage == SINGLE else network.double_blocks)[number]


def _add_behind(block: Block, place: Place, args: Options) -> Options:
    """picture = Block(picture) + Σ λ·Attn(Q, K', V')."""
    watched, found = flux_queries.watch(place.block, args)  # before the block, which changes its input
    out = block(watched)
    (q,) = found
    picture = out["img"]
    pixels = prod(grid_of(place.options))
    if len(q) != place.options[ROWS] or q.shape[2] != picture.shape[1] or pixels > picture.shape[1]:
        warn_once(dit_blocks.UNKNOWN_TOKENS)
        return out
    q = q[:, :, :pixels].transpose(1, 2).flatten(2)
    added = add_images(picture[:, :pixels], q, place.options, in_place=not picture.requires_grad)
    behind = picture[:, pixels:]
    return {**out, "img": torch.cat([added, behind], dim=1) if behind.shape[1] else added}


_ADD = {BEHIND: _add_behind, INSIDE: inner_attention.add_inside}
"""By the depth of a layer."""
