"""Patches that add image prompts to the cross-attention of each block of Anima before it is projected, or, as the
adapter was trained, to the picture behind the block.

    attended = Attn(Q, K, V) + Σ f·λ·Attn(Q, K', V')
    picture = Block(picture) + Σ λ·Attn(Q, K', V')

What the host says: a patch of the input of cross-attentions is called in a block's own right before, with the number of
the block; an override of attention is handed queries, keys and values of every attention, and what computes it. The
patch notes the block, and the override that is called next adds its images, or keeps what a hook adds behind the block.
All of them live for one call of the model.

ComfyUI before 0.30 has no such patch, and nothing there tells the attention to the text from that of the picture.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....ip_adapter_core.layers.cross_stream import BEHIND, CROSS, INSIDE
from ....ip_adapter_core.settings.masks import Grid
from ..warn import warn_once
from . import dit_blocks
from .layer_options import OVERRIDE, Address, Attend, Options, grid_of
from .layer_patch import ROWS, add_images, is_comfys_attention
from .prepared_layers import ImagesByLayer

_BEFORE = "attn2_patch"
_OURS = "ip_adapter_cross_attentions"


def check(model: ModelPatcher) -> None:
    """Raises ValueError for a model of Anima whose blocks do not tell which attention is computed."""
    blocks = getattr(model.model.diffusion_model, "blocks", ())
    if not blocks or not all(hasattr(block, "cross_attn") for block in blocks):
        raise ValueError(
            "Load this Anima model with a loader of ComfyUI's own, such as Load Diffusion Model; the blocks of this "
            "one are another pack's, and take no image prompts."
        )
    if not all(_tells(block.cross_attn) for block in blocks):
        raise ValueError(
            "Update ComfyUI to 0.30 or newer to use image prompts with Anima; in this one its blocks have no place for "
            "them, as they call no patches of their attention to the text."
        )


def add_patches(options: Options, images: ImagesByLayer, network: Any, latent: Grid) -> Options:
    """Options whose patches add the attention to images to what each block attends to.

    network: the host's network. latent: height and width of the latent picture.
    """
    grid = tuple(-(-length // network.patch_spatial) for length in latent)
    places = {
        address: dit_blocks.options_of(address, network.blocks[address[1]].cross_attn.n_heads, images, options, grid)
        for address in images
    }
    ours, patches = _CrossAttentions(places, options.get(OVERRIDE)), options.get("patches", {})
    listed = [*patches.get(_BEFORE, []), ours.note]  # the last one, so that no other pack attends in between
    return {**options, "patches": {**patches, _BEFORE: listed}, OVERRIDE: ours.attend, _OURS: ours}


def remove_patches(options: Options) -> Options:
    """Options without the patches of `add_patches`, and with all that other packs have added since."""
    patches = options.get("patches", {})
    listed = [patch for patch in patches.get(_BEFORE, []) if _owner(patch) is None]
    others = {**{key: each for key, each in patches.items() if key != _BEFORE}, **({_BEFORE: listed} if listed else {})}
    left = {key: each for key, each in options.items() if key not in (OVERRIDE, _OURS)} | {"patches": others}
    override = _existing(options.get(OVERRIDE))
    return left if override is None else {**left, OVERRIDE: override}


def foreign_patches(options: Options, images: ImagesByLayer) -> list[Any]:
    """The patches of other packs of the input of cross-attentions, and their override."""
    listed = options.get("patches", {}).get(_BEFORE, [])
    return [*(patch for patch in listed if _owner(patch) is None), None, _existing(options.get(OVERRIDE))]


@contextmanager
def attached(network: Any, images: ImagesByLayer) -> Iterator[None]:
    """Hooks on the blocks that images are added behind, for one call of the host's network: it takes no patch there."""
    behind = [block for _, block, depth in images if depth == BEHIND]
    hooks = [network.blocks[n].register_forward_hook(partial(_add_behind, n), with_kwargs=True) for n in behind]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _add_behind(number: int, block: Any, given: Any, more: Options, picture: Tensor) -> Tensor:
    """The picture behind a block, (batch, time, height, width, inner), with its images."""
    ours: _CrossAttentions | None = more.get("transformer_options", {}).get(_OURS)
    added = ours.waiting.pop(number, None) if ours else None
    return picture if added is None else picture + added.reshape(picture.shape).to(picture)


class _CrossAttentions:
    """The cross-attentions of one call of the model.

    places: what tells of each layer that has images, by address.
    existing: another pack's override of attention.
    waiting: by number of a block, what is added behind it.
    """

    def __init__(self, places: dict[Address, Options], existing: Attend | None) -> None:
        self.existing = existing
        self.waiting: dict[int, Tensor] = {}
        self._places = places
        self._entered: int | None = None

    def note(self, q: Tensor, k: Tensor, v: Tensor, extra_options: Options, **more: Any) -> Options:
        """A patch of the input of a cross-attention: it changes nothing."""
        self._entered = extra_options["block_index"]
        return {}

    def attend(self, attend: Attend, *given: Any, **how: Any) -> Tensor:
        """An override of attention: what is attended to, with images where the block before has some.

        given: q, k, v, each (batch, heads, tokens, width), and the rest.
        """
        entered, self._entered = self._entered, None
        existing = self.existing
        attended: Tensor = existing(attend, *given, **how) if existing is not None else attend(*given, **how)
        if entered is None:
            return attended
        inside, behind = (self._places.get((CROSS, entered, depth)) for depth in (INSIDE, BEHIND))
        place = inside or behind
        if place is None:
            return attended
        q = given[0].transpose(1, 2).flatten(2)
        if len(q) != place[ROWS] or q.shape[1] != prod(grid_of(place)) or q.shape != attended.shape:
            warn_once(dit_blocks.UNKNOWN_TOKENS)
            return attended
        if behind:
            self.waiting[entered] = add_images(torch.zeros_like(q), q, behind, in_place=True)
        nobody_keeps_it = is_comfys_attention() and existing is None and not attended.requires_grad
        return add_images(attended, q, inside, in_place=nobody_keeps_it) if inside else attended


def _owner(patch: Any) -> _CrossAttentions | None:
    """Whose method a patch is, if it is one of ours."""
    owner = getattr(patch, "__self__", None)
    return owner if isinstance(owner, _CrossAttentions) else None


def _existing(override: Any) -> Any:
    """Another pack's override, inside ours where they are around it."""
    while (ours := _owner(override)) is not None:
        override = ours.existing
    return override


def _tells(cross_attention: Any) -> bool:
    """Whether the host's attention calls patches of its input: its code names their key."""
    compute = getattr(type(cross_attention), "compute_qkv", None)
    return compute is not None and _BEFORE in inspect.unwrap(compute).__code__.co_consts
