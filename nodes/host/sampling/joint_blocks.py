"""Patches that add image prompts inside the joint blocks of SD3.5.

    attended = Attn(…)  +  Σ λ·Attn(Q, [K; K'], [V; V'])  in the picture's rows

What the host says: an override of attention in the options of a block is handed the queries, keys and values of texts
and picture, normalised by the block's own norms, and what computes the attention. It is put into the options of that
block alone, around the override of another pack where there is one. Divided by the weights of those norms, each head of
the picture's queries and keys has an RMS of 1, whatever the block is.

The host attends in one call; models that attend twice in a block (SD3.5 Medium) are refused, as is SD3 without norms.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....ip_adapter_core.attention.grouped import ImageKV, mask_for
from ....ip_adapter_core.attention.joint import PictureQKV, joint_attention
from ....ip_adapter_core.attention.reference import apply_mask
from ....ip_adapter_core.settings.masks import Grid
from ..warn import warn_once
from . import dit_blocks
from .dit_blocks import Block, Place
from .layer_options import OVERRIDE, Attend, Options, address_of, grid_of
from .layer_patch import PREPARED, ROWS, is_comfys_attention
from .prepared_layers import ImagesByLayer


def check(model: ModelPatcher) -> None:
    """Raises ValueError for a model of SD3's construction whose blocks do not attend as SD3.5 Large does."""
    blocks = getattr(model.model.diffusion_model, "joint_blocks", None)
    if blocks is None or not all(hasattr(block, "x_block") for block in blocks):
        raise ValueError(
            "Load this SD3.5 model with a loader of ComfyUI's own, such as Load Diffusion Model; the blocks of this "
            "one are another pack's, and take no image prompts."
        )
    if not all(_attends_as_large(block.x_block) for block in blocks):
        raise ValueError(
            "Load SD3.5 Large or a fine-tune of it, the one model of this construction that there are adapters for; "
            "the blocks of this model attend in another way, as those of SD3 and SD3.5 Medium do."
        )


def add_patches(options: Options, images: ImagesByLayer, network: Any, latent: Grid) -> Options:
    """Options whose patches add the attention to images to what each joint block attends to.

    network: the host's MMDiT. latent: height and width of the latent picture.
    """
    grid = tuple(-(-length // network.patch_size) for length in latent)
    blocks = {address: network.joint_blocks[address[1]] for address in images}
    places = {
        address: Place(
            block,
            _add_inside,
            dit_blocks.options_of(address, block.x_block.attn.num_heads, images, options, grid),
        )
        for address, block in blocks.items()
    }
    return dit_blocks.add_patches(options, places)


def foreign_patches(options: Options, images: ImagesByLayer) -> list[Any]:
    """The patches of other packs on the blocks that have ours, None for a block without any, and their override."""
    return [*dit_blocks.foreign_patches(options, images), options.get(OVERRIDE)]


def _attends_as_large(block: Any) -> bool:
    normed = all(getattr(norm, "weight", None) is not None for norm in (block.attn.ln_q, block.attn.ln_k))
    return normed and not block.x_block_self_attn


def _add_inside(block: Block, place: Place, args: Options) -> Options:
    """A block whose attention is overridden."""
    options = args["transformer_options"]
    override = partial(_attend_with_images, place, args["txt"].shape[1], options.get(OVERRIDE))
    return block({**args, "transformer_options": {**options, OVERRIDE: override}})


def _attend_with_images(
    place: Place, texts: int, existing: Attend | None, attend: Attend, *given: Any, **how: Any
) -> Tensor:
    """The attention of texts and picture, with images added in the picture's rows.

    texts: how many tokens stand before the picture's. existing: another pack's override. given: q, k, v and the rest.
    """
    q, k, v, *_ = given
    attended: Tensor = existing(attend, *given, **how) if existing is not None else attend(*given, **how)
    pixels = prod(grid_of(place.options))
    if len(q) != place.options[ROWS] or {x.shape[1] for x in (q, k, v, attended)} != {texts + pixels}:
        warn_once(dit_blocks.UNKNOWN_TOKENS)
        return attended
    picture = _picture(place.block.x_block.attn, *(x[:, texts:] for x in (q, k, v)))
    added = sum(_result(picture, image, place.options) for image in place.options[PREPARED][address_of(place.options)])
    if existing is not None or attended.requires_grad or not is_comfys_attention():
        return torch.cat([attended[:, :texts], attended[:, texts:] + added], dim=1)
    attended[:, texts:] += added  # the host keeps no result
    return attended


def _picture(norms: Any, q: Tensor, k: Tensor, v: Tensor) -> PictureQKV:
    """The picture's rows, with queries and keys of an RMS of 1; where a norm of the block is 0, they are 0."""
    return PictureQKV(_without(norms.ln_q, q), _without(norms.ln_k, k), v.flatten(2) if v.ndim == 4 else v)


def _without(norm: Any, x: Tensor) -> Tensor:
    weight = norm.weight.to(x.device, torch.float32)
    factor = torch.where(weight == 0, 0.0, 1 / weight)
    return (x.unflatten(-1, (-1, len(weight))) * factor.to(x.dtype)).flatten(2)


def _result(picture: PictureQKV, image: ImageKV, options: Options) -> Tensor:
    """λ·Attn(Q, [K; K'], [V; V']) of one image prompt, 0 outside its mask: (batch, pixels, inner)."""
    assert image.joint is not None
    result = joint_attention(picture, image.kv, image.joint, options["n_heads"], image.attn_bias)
    mask = None if image.masks is None else mask_for(image, grid_of(options))
    return result if mask is None else apply_mask(result, mask)
