"""Adapters to train: a new one with the published sizes and initial weights, or a copy of an existing one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..adapters.adapter import Adapter
from ..adapters.checkpoint import Parts
from ..adapters.projections import HEAD_WIDTH
from ..files.tensor_file import Shape
from ..layers.families import describe
from ..layers.layout import Geometry

FreshShapes = dict[str, Shape]

_DEPTH = 4  # of the published resamplers
_RESAMPLERS = {768: (768, 12), 1024: (1024, 12), 2048: (1280, 20)}
"""Context -> width and heads that the published code builds a resampler with, for SD1.5, SD2 and SDXL: other packs load
no other. Source: tencent-ailab/IP-Adapter, tutorial_train_plus.py, which fixes 12 heads, and ip_adapter.py."""


class FreshKind(NamedTuple):
    """A kind of adapter that can be trained: a row of TRAINABLE_KINDS.

    tokens: the published number per image.
    shapes: (context, input width, tokens) -> shapes of the projection's tensors.
    """

    tokens: int
    shapes: Callable[[int, int, int], FreshShapes]


def _base(context: int, embed: int, tokens: int) -> FreshShapes:
    wide = tokens * context
    return {"proj.weight": (wide, embed), "proj.bias": (wide,), "norm.weight": (context,), "norm.bias": (context,)}


def _plus(context: int, hidden: int, tokens: int) -> FreshShapes:
    width, heads = _RESAMPLERS.get(context) or _resampler(context)
    inner = heads * HEAD_WIDTH
    shapes: FreshShapes = {"latents": (1, tokens, width)}
    shapes |= {"proj_in.weight": (width, hidden), "proj_out.weight": (context, width)}
    for layer in range(_DEPTH):
        shapes |= {f"layers.{layer}.0.to_q.weight": (inner, width), f"layers.{layer}.1.1.weight": (4 * width, width)}
    return shapes


def _resampler(context: int) -> tuple[int, int]:
    """Width and heads for a model of another family: the width of the context, in whole heads."""
    heads = max(1, min(context, 1280) // HEAD_WIDTH)
    return heads * HEAD_WIDTH, heads


TRAINABLE_KINDS: dict[str, FreshKind] = {"base": FreshKind(4, _base), "plus": FreshKind(16, _plus)}


@torch.inference_mode(False)
def fresh(
    kind: str,
    geometry: Geometry,
    input_width: int,
    base: Sequence[tuple[Tensor, Tensor]],
    seed: int = 0,
    *,
    tokens: int | None = None,
) -> Adapter:
    """A new fp32 adapter; its layers are copies of the base model's (arXiv 2308.06721, section 3.2.2).

    kind: a row of TRAINABLE_KINDS. input_width: of the features that it will read. base: to_k and to_v (inner, context)
    of every cross-attention, in adapter order. tokens: per image, instead of the published number. Raises ValueError
    for an unknown kind, or a base that does not have this geometry.
    """
    if kind not in TRAINABLE_KINDS:
        raise ValueError(
            f"Set kind to one of {', '.join(TRAINABLE_KINDS)}; found {kind}, for which there is no recipe."
        )
    shapes = TRAINABLE_KINDS[kind].shapes(geometry.context, input_width, tokens or TRAINABLE_KINDS[kind].tokens)
    return begun(shapes, geometry, base, seed)


@torch.inference_mode(False)
def begun(projection: FreshShapes, geometry: Geometry, base: Sequence[tuple[Tensor, Tensor]], seed: int = 0) -> Adapter:
    """A new adapter with a projection of these shapes, which say of which kind it is; the rest as in `fresh`."""
    _check_base(geometry, base)
    layers: dict[int, FreshShapes] = {
        2 * n + 1: {"to_k_ip.weight": (width, geometry.context)} for n, width in enumerate(geometry.widths)
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = Adapter(Parts(projection, layers, {}), nn)
        _begin(adapter, base)
    return adapter


@torch.inference_mode(False)
def trainable(adapter: Adapter) -> Adapter:
    """A copy of an adapter for further training: fp32, with gradients, in memory of its own."""
    return deepcopy(adapter).float().train().requires_grad_(True)


@torch.no_grad()
def _begin(adapter: Adapter, base: Sequence[tuple[Tensor, Tensor]]) -> None:
    for layer, (to_k, to_v) in zip(adapter.layers(), base, strict=True):
        layer.to_k_ip.weight.copy_(to_k)
        layer.to_v_ip.weight.copy_(to_v)
    for name, parameter in adapter.named_parameters():
        if name.endswith(".latents"):
            nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)


def _check_base(geometry: Geometry, base: Sequence[tuple[Tensor, Tensor]]) -> None:
    needed = [(width, geometry.context) for width in geometry.widths]
    for which, shapes in (("to_k", [tuple(k.shape) for k, _ in base]), ("to_v", [tuple(v.shape) for _, v in base])):
        if shapes != needed:
            raise ValueError(
                f"Give projections of the base model with the shapes of {describe(geometry)}; its {which} "
                "do not have them."
            )
