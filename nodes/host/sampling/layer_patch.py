"""Attention patches that add image prompts to whatever each layer has already.

    Z = Attn(Q, K, V) + Σ f·λ·Attn(Q, K', V')

The first term belongs to the text: it is computed by the host, or by another pack's patch. The sum has a term for each
image prompt, whose V' holds λ already; f is 1 unless it is balanced, and PuLID's is turned away from the first term. Z
goes into the layer's output projection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any

import torch
from comfy.ldm.modules import attention
from torch import Tensor, contiguous_format

from ....ip_adapter_core.attention.balance import Balanced, factors, hold
from ....ip_adapter_core.attention.grouped import GroupedKV, ImageKV, add_grouped_, balanced, mask_for
from ....ip_adapter_core.attention.projection import turn_away
from ....ip_adapter_core.attention.reference import apply_mask, image_attention
from . import foreign_attention
from .foreign_attention import Attentions, TextKV
from .layer_options import OVERRIDE, Options, address_of, grid_of
from .prepared_layers import ImagesByLayer

ROWS = "ip_adapter_rows"
"""The key of transformer_options that holds how many rows the batch has."""
ATTENTION_HOOK = "ip_adapter_watch"
"""The key that may hold an AttentionHook, which is called in every patched layer."""
PREPARED = "ip_adapter_prepared"
"""The key that holds what each layer attends to."""
_USES_COMFY_ATTENTION = "ip_adapter_uses_comfy_attention"


Attention = Callable[[Tensor, Tensor, Tensor, Options], Tensor]
"""(q, k, v, options) -> Attn(Q, K, V), (batch, pixels, inner)."""
AttentionHook = Callable[[Tensor, Tensor, Options], None]
"""Takes q, the text's attention, both (batch, pixels, inner), and the options of the layer."""


# The patches of a model call


def add_patches(options: Options, images: ImagesByLayer, attentions: Attentions | None = None) -> Options:
    """Options whose patches add the attention to images to whatever each layer has already.

    attentions: the cross-attentions of the network, where other packs may have changed what happens inside them.
    """
    attentions = attentions or Attentions()
    replace, patches = options.get("patches_replace", {}), options.get("patches", {})
    existing = replace.get("attn2", {})
    inside = [address for address in images if address not in attentions.exchanged]
    ours = {a: partial(_attend, _text_of(existing.get(a) or existing.get(a[:2]), options)) for a in inside}
    if patches.get("attn2_patch") or attentions.exchanged & images.keys():
        patches = foreign_attention.around(patches, attentions, options[ROWS], _add_to_zeros)
    return {
        **options,
        "patches": patches,
        "patches_replace": {**replace, "attn2": {**existing, **ours}},
        PREPARED: images,
        _USES_COMFY_ATTENTION: _uses_comfy_attention(options),
    }


def remove_patches(options: Options) -> Options:
    """Options without the patches of `add_patches`, and with all that other packs have added since."""
    replace = options.get("patches_replace", {})
    existing = {address: _without_ours(patch) for address, patch in replace.get("attn2", {}).items()}
    others = {address: patch for address, patch in existing.items() if patch is not None}
    patches = foreign_attention.without(options.get("patches", {}))
    return {**options, "patches": patches, "patches_replace": {**replace, "attn2": others}}


def foreign_patches(options: Options, images: ImagesByLayer) -> list[Any]:
    """The patches of other packs inside ours, None for a layer without any; then those between ours around a layer."""
    patches = options["patches_replace"]["attn2"]
    inside = [patches[address].args[0] if address in patches else None for address in images]
    return [*inside, *foreign_attention.others(options)]


def _text_of(existing: Attention | None, options: Options) -> Attention:
    """What computes a layer's first term: another pack's patch or the host, with the hook behind it if there is one."""
    text = existing or _text_attention
    return partial(_show_to_hook, options[ATTENTION_HOOK], text) if ATTENTION_HOOK in options else text


def _without_ours(patch: Any) -> Any:
    """What a patch of ours is around, None where that is the host's own attention; another pack's patch as it is."""
    if not _is_partial_of(patch, _attend):
        return patch
    text = patch.args[-1]
    text = text.args[-1] if _is_partial_of(text, _show_to_hook) else text
    return None if text is _text_attention else text


def _is_partial_of(patch: Any, function: Callable[..., Any]) -> bool:
    return isinstance(patch, partial) and patch.func is function


# The sum in a layer


def _attend(text: Attention, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """Z = Attn(Q, K, V) + Σ λ·Attn(Q, K', V'), before the layer's output projection."""
    attended = text(q, k, v, options)
    if not foreign_attention.follows(q, options.get(ROWS), options):
        return attended
    nobody_keeps_it = text is _text_attention and options[_USES_COMFY_ATTENTION] and not attended.requires_grad
    return add_images(attended, q, options, in_place=nobody_keeps_it)


def _add_to_zeros(zeros: Tensor, q: Tensor, text_kv: TextKV, options: Options) -> Tensor:
    """Σ f·λ·Attn(Q, K', V') alone, written into zeros."""
    images = options[PREPARED].get(address_of(options), ())
    if not images:
        return zeros
    text = _text_attention(q, *text_kv(), options) if any(map(_depends_on_text, images)) else None
    return add_images(zeros, q, options, in_place=True, text=text)


def add_images(attended: Tensor, q: Tensor, options: Options, in_place: bool, text: Tensor | None = None) -> Tensor:
    """The sum of `attended` and f·λ·Attn(Q, K', V') of each image prompt.

    in_place: whether `attended` may be changed. text: the attention to the text, by default `attended`.
    """
    images = options[PREPARED][address_of(options)]
    dependent = _dependent(attended if text is None else text, q, images, options)
    for image in images:
        if not _depends_on_text(image):
            attended, in_place = _add_image(attended, q, image, options, in_place), True
    if dependent is None:
        return attended
    return attended.add_(dependent) if in_place else attended + dependent


def _add_image(
    attended: Tensor,
    q: Tensor,
    image: ImageKV | GroupedKV,
    options: Options,
    in_place: bool,
    text: Tensor | None = None,
) -> Tensor:
    if isinstance(image, GroupedKV):
        return add_grouped_(_writeable(attended, in_place), q, image, options["n_heads"], grid_of(options))
    result = image_result(q, image, options, text)
    return attended.add_(result) if in_place else attended + result


def _depends_on_text(image: ImageKV | GroupedKV) -> bool:
    """Whether what it adds is held against what the text says, or turned away from it."""
    return image.turned or image.balance is not None


def _dependent(text: Tensor, q: Tensor, images: Sequence[ImageKV | GroupedKV], options: Options) -> Tensor | None:
    """The sum of those image prompts that depend on the text; None where there are none."""
    held = balanced_results(text, q, images, options)
    turned = [image for image in images if isinstance(image, ImageKV) and image.turned and not image.balance]
    parts = [*([hold(text, held)] if held else []), *(image_result(q, image, options, text) for image in turned)]
    return reduce(torch.add, parts) if parts else None


def balanced_results(
    text: Tensor, q: Tensor, images: Sequence[ImageKV | GroupedKV], options: Options
) -> list[Balanced]:
    """What each image prompt adds that is held against the text, before it is."""
    held = [(image, image.balance) for image in images if image.balance]
    added = [_add_image(q.new_zeros(q.shape), q, image, options, in_place=True, text=text) for image, _ in held]
    return [balanced(each, *of, grid_of(options)) for each, of in zip(added, held, strict=True)]


def factors_of(text: Tensor, q: Tensor, images: Sequence[ImageKV], options: Options) -> list[Tensor | float]:
    """f of each image prompt: (batch, 1, 1), or 1 where it is not balanced."""
    parts = balanced_results(text, q, images, options)
    found = iter(factors(text, parts) if parts else ())
    return [next(found) if image.balance else 1.0 for image in images]


def image_result(q: Tensor, image: ImageKV, options: Options, text: Tensor | None = None) -> Tensor:
    """λ·Attn(Q, K', V') of one image prompt, 0 outside its mask: (batch, pixels, inner).

    text: the attention to the text, from which it is turned away where its method says so; None leaves it as it is.
    """
    heads = options["n_heads"]
    result = image_attention(q, image.kv, heads, image.attn_bias)
    if text is not None and image.turned:
        result = turn_away(text, result, q, image.kv.keys, heads, image.method)
    mask = None if image.masks is None else mask_for(image, grid_of(options))
    return result if mask is None else apply_mask(result, mask)


def _writeable(attended: Tensor, in_place: bool) -> Tensor:
    """A contiguous result that may be changed: a copy where another pack may keep the original."""
    return attended.contiguous() if in_place else attended.clone(memory_format=contiguous_format)


# The term of the text


def _text_attention(q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    precision = options.get("attn_precision")
    # Looked up at each call: other packs exchange the function.
    return attention.optimized_attention(
        q, k, v, options["n_heads"], attn_precision=precision, transformer_options=options
    )


def _uses_comfy_attention(options: Options) -> bool:
    """Whether attention to the text is ComfyUI's own, which keeps no result; other packs exchange it in two ways."""
    return is_comfys_attention() and OVERRIDE not in options


def is_comfys_attention() -> bool:
    """Whether no other pack has put its own in the place of ComfyUI's attention."""
    return attention.optimized_attention.__module__ == attention.__name__


def _show_to_hook(hook: AttentionHook, text: Attention, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """The text's attention, which the hook is called with before images are added."""
    attended = text(q, k, v, options)
    if foreign_attention.follows(q, options.get(ROWS), options):
        hook(q, attended, options)
    return attended
