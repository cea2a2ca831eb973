"""The queries of a block of Flux, as its attention has them: normalised by head and not yet rotated.

What the host says: a patch of the attention inside a block is handed its queries. (0.16 has no such patch; there the
block's own layers make the queries once more.)
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from torch import Tensor

from .layer_options import Options

BEFORE = "attn1_patch"
"""The key of the patches that are called before the attention of a block."""


def watch(block: Any, args: Options) -> tuple[Options, list[Tensor]]:
    """Arguments with which a block notes its queries, and where: they are there once its attention is computed.

    block: the host's module. The queries are (batch, heads, tokens, width), of a double block the picture's alone.
    """
    if not _hands_out_queries(block):
        return args, [_of_double(block, args) if "txt" in args else _of_single(block, args)]
    found: list[Tensor] = []
    texts = args["txt"].shape[1] if "txt" in args else 0
    return with_patch(args, BEFORE, partial(_note, found, texts)), found


def with_patch(args: Options, key: str, patch: Any) -> Options:
    """Arguments of a block whose first patch of this key is the given one."""
    options = args.get("transformer_options") or {}
    patches = {**options.get("patches", {}), key: [patch, *patches_of(options, key)]}
    return {**args, "transformer_options": {**options, "patches": patches}}


def patches_of(options: Options, key: str) -> list[Any]:
    """The patches of a key."""
    listed: list[Any] = options.get("patches", {}).get(key, [])
    return listed


def _note(found: list[Tensor], texts: int, q: Tensor, k: Tensor, v: Tensor, **more: Any) -> Options:
    """An attention patch that changes nothing: q (batch, heads, tokens, width), of texts and then of the picture."""
    found.append(q[:, :, texts:])
    return {}


def _hands_out_queries(block: Any) -> bool:
    """Whether the host's block calls patches of its attention: its code names their key."""
    forward = inspect.unwrap(type(getattr(block, "_orig_mod", block)).forward)
    return BEFORE in forward.__code__.co_consts


def _of_double(block: Any, args: Options) -> Tensor:
    modulation, _ = block.img_mod(args["vec"])
    modulated = (1 + modulation.scale) * block.img_norm1(args["img"]) + modulation.shift
    return _normed(block, block.img_attn.qkv(modulated), block.img_attn.norm)


def _of_single(block: Any, args: Options) -> Tensor:
    modulation, _ = block.modulation(args["vec"])
    modulated = (1 + modulation.scale) * block.pre_norm(args["img"]) + modulation.shift
    return _normed(block, block.linear1(modulated)[..., : 3 * block.hidden_size], block.norm)


def _normed(block: Any, qkv: Tensor, norm: Any) -> Tensor:
    q, k, v = qkv.view(*qkv.shape[:2], 3, block.num_heads, -1).permute(2, 0, 3, 1, 4)
    normed: Tensor = norm(q, k, v)[0]
    return normed
