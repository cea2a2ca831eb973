"""Patches that add image prompts behind the double blocks of Flux.

    picture = Block(picture) + Σ λ·Attn(Q, K', V')

What the host says: a patch of the attention inside a block is handed its queries, normalised and not yet rotated. (0.16
has no such patch; there the block's own layers make the queries once more.)

The picture's tokens are its patches in rows. Tokens behind them are of reference latents, and stay as they are.
"""

from __future__ import annotations

import inspect
from functools import partial
from math import prod
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....ip_adapter_core.settings.masks import Grid
from ..warn import warn_once
from . import dit_blocks
from .dit_blocks import Block, Place
from .layer_options import Options, grid_of
from .layer_patch import ROWS, add_images
from .prepared_layers import ImagesByLayer

FORWARD = ("x", "timestep", "context", "y", "guidance", "ref_latents", "control", "transformer_options")
"""The arguments of the host's network, in its order."""


def check(model: ModelPatcher) -> None:
    """Raises ValueError for a Flux model whose blocks another pack has built in a way of its own."""
    blocks = getattr(model.model.diffusion_model, "double_blocks", None)
    if blocks is None or not all(hasattr(block, "img_attn") for block in blocks):
        raise ValueError(
            "Load this Flux model with a loader of ComfyUI's own, such as Load Diffusion Model; the blocks of this one "
            "are another pack's, and take no image prompts."
        )


def add_patches(options: Options, images: ImagesByLayer, network: Any, latent: Grid) -> Options:
    """Options whose patches add the attention to images behind whatever each double block computes.

    network: the host's Flux. latent: height and width of the latent picture.
    """
    grid = tuple(-(-length // network.patch_size) for length in latent)
    blocks = {address: network.double_blocks[address[1]] for address in images}
    places = {
        address: Place(block, _add_behind, dit_blocks.options_of(address, block.num_heads, images, options, grid))
        for address, block in blocks.items()
    }
    return dit_blocks.add_patches(options, places)


def foreign_patches(options: Options, images: ImagesByLayer) -> list[Any]:
    """The patches of other packs on the blocks that have ours, None for a block without any, and of attention."""
    return [*dit_blocks.foreign_patches(options, images), *_attention_patches(options)]


def _add_behind(block: Block, place: Place, args: Options) -> Options:
    """picture = Block(picture) + Σ λ·Attn(Q, K', V')."""
    if _hands_out_queries(place.block):
        found: list[Tensor] = []
        out = block(_with_note(args, found))
        q = found[0]
    else:
        q = _queries(place.block, args)  # before the block, which changes its input
        out = block(args)
    picture = out["img"]
    pixels = prod(grid_of(place.options))
    if len(q) != place.options[ROWS] or q.shape[2] != picture.shape[1] or pixels > picture.shape[1]:
        warn_once(dit_blocks.UNKNOWN_TOKENS)
        return out
    q = q[:, :, :pixels].transpose(1, 2).flatten(2)
    added = add_images(picture[:, :pixels], q, place.options, in_place=not picture.requires_grad)
    behind = picture[:, pixels:]
    return {**out, "img": torch.cat([added, behind], dim=1) if behind.shape[1] else added}


def _with_note(args: Options, found: list[Tensor]) -> Options:
    """Arguments of a block whose first attention patch notes the queries."""
    options = args.get("transformer_options") or {}
    listed = [partial(_note, found), *_attention_patches(options)]
    patches = {**options.get("patches", {}), "attn1_patch": listed}
    return {**args, "transformer_options": {**options, "patches": patches}}


def _attention_patches(options: Options) -> list[Any]:
    listed: list[Any] = options.get("patches", {}).get("attn1_patch", [])
    return listed


def _note(found: list[Tensor], q: Tensor, k: Tensor, v: Tensor, extra_options: Options, **more: Any) -> Options:
    """An attention patch that changes nothing: q (batch, heads, tokens, width), of texts and then of the picture."""
    first, _ = extra_options["img_slice"]
    found.append(q[:, :, first:])
    return {}


def _hands_out_queries(block: Any) -> bool:
    """Whether the host's block calls patches of its attention: its code names their key."""
    forward = inspect.unwrap(type(getattr(block, "_orig_mod", block)).forward)
    return "attn1_patch" in forward.__code__.co_consts


def _queries(block: Any, args: Options) -> Tensor:
    """The picture's queries (batch, heads, tokens, width), as the block makes them itself."""
    modulation, _ = block.img_mod(args["vec"])
    modulated = (1 + modulation.scale) * block.img_norm1(args["img"]) + modulation.shift
    qkv = block.img_attn.qkv(modulated)
    q, k, v = qkv.view(*qkv.shape[:2], 3, block.num_heads, -1).permute(2, 0, 3, 1, 4)
    return block.img_attn.norm(q, k, v)[0]
