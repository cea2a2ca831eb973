"""Image prompts by the fused kernel, text and images of a layer in one launch, measured beside the shipped forms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ..ip_adapter_core.attention.grouped import ImageKV, mask_for
from ..ip_adapter_core.settings.masks import Grid
from ..nodes.host.sampling import layer_patch, prepared_layers
from . import fused
from .sampling import Options
from .sampling import options as told

KEY = "bench_fused"


def with_kernel(model: ModelPatcher) -> ModelPatcher:
    """The model, whose layers with image prompts alone run as the kernel where it is sampled within `ungrouped`."""
    clone = model.clone()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, _diffusion_model)
    return clone


@contextmanager
def ungrouped() -> Iterator[None]:
    """Image prompts stand by themselves while this lasts, as the kernel takes them."""
    usual = prepared_layers.group_images
    prepared_layers.group_images = lambda images, heads: tuple(images)
    try:
        yield
    finally:
        prepared_layers.group_images = usual


def _diffusion_model(executor: Any, x: Tensor, *given: Any, **more: Any) -> Tensor:
    replace = told(given, more).get("patches_replace", {})
    patches: dict[Any, Any] = replace.get("attn2", {})
    patches.update({address: partial(_fused, patch) for address, patch in patches.items() if _is_ours(patch)})
    found: Tensor = executor(x, *given, **more)
    return found


def _is_ours(patch: Any) -> bool:
    """Whether a patch is of this package, on a layer that no other one has patched."""
    return (
        isinstance(patch, partial)
        and patch.func is layer_patch._attend
        and patch.args[0] is layer_patch._text_attention
    )


def _fused(usual: Any, q: Tensor, k: Tensor, v: Tensor, options: Options) -> Tensor:
    """What the usual patch gives, in one kernel where its shapes are known and attention is ComfyUI's own."""
    images = options[layer_patch.PREPARED][(*options["block"], options["block_index"])]
    grid = (options["activations_shape"][-2], options["activations_shape"][-1])
    found = attention(q, k, v, images, options["n_heads"], grid) if options[layer_patch._USES_COMFY_ATTENTION] else None
    return usual(q, k, v, options) if found is None else found


def attention(q: Tensor, k: Tensor, v: Tensor, images: Sequence[ImageKV], heads: int, grid: Grid) -> Tensor | None:
    """Text attention and all image attentions of a layer (batch, pixels, inner); None for shapes the kernel has not."""
    groups = [(*image.kv, image.attn_bias, mask_for(image, grid)) for image in images]
    return fused.attention(q, k, v, groups, heads) if fused.qualifies(q, k, v, groups, heads) else None
