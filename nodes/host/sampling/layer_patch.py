"""Attention patches that add image prompts to whatever each layer has already."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from comfy.ldm.modules import attention
from torch import Tensor, contiguous_format

from ....ip_adapter_core.attention.grouped import GroupedKV, ImageKV, add_grouped_, mask_for
from ....ip_adapter_core.attention.reference import apply_mask, image_attention
from ....ip_adapter_core.settings.masks import Grid
from . import foreign_attention
from .foreign_attention import Attentions
from .run import Prepared

ROWS = "ip_adapter_rows"
"""Where transformer_options hold how many rows the batch has."""
ATTENTION_HOOK = "ip_adapter_watch"
"""Where they may hold one who sees q, the text's attention and the options of every patched layer."""
_PREPARED, _USES_COMFY_ATTENTION = "ip_adapter_prepared", "ip_adapter_uses_comfy_attention"

Options = dict[str, Any]
Attention = Callable[[Tensor, Tensor, Tensor, Options], Tensor]
Watcher = Callable[[Tensor, Tensor, Options], None]


def add_patches(options: Options, prepared: Prepared, found: Attentions | None = None) -> Options:
    """Options whose patches add the prepared image attention to whatever each layer has already.

    found: the cross-attentions of the network, where other packs may have changed what happens inside them.
    """
    found = found or Attentions()
    replace, patches = options.get("patches_replace", {}), options.get("patches", {})
    there = replace.get("attn2", {})
    act = partial(_attend_and_show, options[ATTENTION_HOOK]) if ATTENTION_HOOK in options else _attend
    inside = [address for address in prepared if address not in found.exchanged]
    ours = {a: partial(act, there.get(a) or there.get(a[:2]) or _text_attention) for a in inside}
    if patches.get("attn2_patch") or found.exchanged & prepared.keys():
        patches = foreign_attention.around(patches, found, options[ROWS], _add_alone)
    return {
        **options,
        "patches": patches,
        "patches_replace": {**replace, "attn2": {**there, **ours}},
        _PREPARED: prepared,
        _USES_COMFY_ATTENTION: _uses_comfy_attention(options),
    }


def remove_patches(options: Options) -> Options:
    """Options as they would be without the patches of `patched`, whatever has come to them since."""
    replace = options.get("patches_replace", {})
    there = {address: _under(patch) for address, patch in replace.get("attn2", {}).items()}
    kept = {address: patch for address, patch in there.items() if patch is not None}
    patches = foreign_attention.without(options.get("patches", {}))
    return {**options, "patches": patches, "patches_replace": {**replace, "attn2": kept}}


def _under(patch: Any) -> Any:
    """What a patch of ours is around, None where that is the host's own attention; another pack's patch as it is."""
    if not (isinstance(patch, partial) and patch.func in (_attend, _attend_and_show)):
        return patch
    return None if patch.args[-1] is _text_attention else patch.args[-1]


def _attend(text: Attention, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Z = Attn(Q, K, V) + Σ λ·Attn(Q, K', V'), before the layer's output projection."""
    attended = text(q, k, v, options)
    if not foreign_attention.follows(q, options.get(ROWS), options):
        return attended
    return _add(
        attended, q, options, text is _text_attention and options[_USES_COMFY_ATTENTION] and not attended.requires_grad
    )


def _add_alone(nothing: Tensor, q: Tensor, options: Options) -> Tensor:
    """Σ λ·Attn(Q, K', V'), into zeros."""
    return _add(nothing, q, options, own=True) if _address(options) in options[_PREPARED] else nothing


def _add(attended: Tensor, q: Tensor, options: Options, own: bool) -> Tensor:
    """What is attended to already with what images add; own: whether it may be added to in place."""
    for image in options[_PREPARED][_address(options)]:
        if isinstance(image, GroupedKV):
            attended = add_grouped_(_writeable(attended, own), q, image, options["n_heads"], _grid(options))
        else:
            more = image_result(q, image, options)
            attended = attended.add_(more) if own else attended + more
        own = True
    return attended


def _writeable(attended: Tensor, own: bool) -> Tensor:
    """A result that may be added to in place: another patch's is left as it is."""
    return attended.contiguous() if own else attended.clone(memory_format=contiguous_format)


def _address(options: Options) -> tuple[str, int, int]:
    return (*options["block"], options["block_index"])


def _grid(options: Options) -> Grid:
    return options["activations_shape"][-2], options["activations_shape"][-1]


def _uses_comfy_attention(options: Options) -> bool:
    """Whether attention to the text is ComfyUI's own, which keeps no result; other packs exchange it in two ways."""
    usual = attention.optimized_attention.__module__ == attention.__name__
    return usual and "optimized_attention_override" not in options


def _attend_and_show(watch: Watcher, text: Attention, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """What `_attend` gives, while one sees it."""
    attended = text(q, k, v, options)
    if foreign_attention.follows(q, options.get(ROWS), options):
        watch(q, attended, options)
    return _attend(lambda *_: attended, q, k, v, options)


def image_result(q: Tensor, image: ImageKV, options: Options) -> Tensor:
    """What one image prompt adds to a layer, where it acts: (batch, pixels, inner)."""
    found = image_attention(q, image.kv, options["n_heads"], image.attn_bias)
    mask = None if image.masks is None else mask_for(image, _grid(options))
    return found if mask is None else apply_mask(found, mask)


def _text_attention(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    precision = options.get("attn_precision")
    # Looked up at each call: other packs exchange the function.
    return attention.optimized_attention(
        q, k, v, options["n_heads"], attn_precision=precision, transformer_options=options
    )
