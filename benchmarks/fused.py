"""Text and image attention of one layer in one launch on CUDA: Z = Attn(Q, K, V) + Σ m·Attn(Q, K', V').

Q is read once, the text and every image group have a softmax of their own, and the sum is written once. Written in
Triton, which is imported at the first use. It is measured here and not used by the nodes: so far it has run in Triton's
interpreter only, and has been compiled for GPUs without running there. It is for eager mode, and has no gradients.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from .fused_kernel import Group, Plan, Rows, kernel

ImageGroup = tuple[Tensor, Tensor, Tensor | None, Tensor | None]
"""Keys and values (rows, tokens, inner), attn_bias (tokens,) and mask (rows', pixels, 1) of what shares one softmax."""

MOST_TEXT, MOST_TOKENS, MOST_GROUPS = 308, 64, 8

_OLDEST_TRITON = (3, 4)  # the first that reads the fields of a named tuple that is a constant
_OLDEST_GPU = (8, 0)  # bf16 and tf32 products
_WIDEST = 256
_SMALLEST = 16  # pixels, tokens or channels that the products of a GPU have at least
_PROGRAMS = 65535  # along the second and third axis of a launch
_OFFSETS = 2**31


class _Block(NamedTuple):
    """What one program works on: pixels, text tokens at a time, and its warps."""

    pixels: int
    text: int
    warps: int


# By padded head width and bytes per number. Not measured: chosen so that all fit the shared memory of consumer cards
# (99 KiB), and halves the registers, as compiled for compute capability 8.0, 8.6, 9.0 and 12.0. In fp32 some spill.
_BLOCKS = {
    (64, 2): _Block(64, 32, 4),
    (128, 2): _Block(32, 32, 4),
    (256, 2): _Block(16, 32, 4),
    (64, 4): _Block(64, 16, 4),
    (128, 4): _Block(16, 16, 4),
    (256, 4): _Block(16, 16, 8),
}


def available(device: torch.device) -> bool:
    """Whether the kernel can run there: Triton 3.4 on a CUDA device of compute capability 8.0, or later ones.

    In Triton's interpreter (TRITON_INTERPRET=1) any device will do.
    """
    return _has_triton() and (_interpreted() or _is_recent(device))


def qualifies(q: Tensor, k: Tensor, v: Tensor, images: Sequence[ImageGroup], heads: int) -> bool:
    """Whether `attention` takes these tensors: few tokens, heads of known width, neighbouring channels, no gradients.

    An unmasked text attention is meant; a mask on the text cannot be said here, so the caller has to look for it.
    """
    return (
        _is_layer(q, k, v, heads)
        and all(_is_readable(x, q) for x in (q, k, v))
        and len(images) <= MOST_GROUPS
        and all(_is_group(q, *image) for image in images)
    )


def attention(
    q: Tensor, k: Tensor, v: Tensor, images: Sequence[ImageGroup], heads: int, scale: float | None = None
) -> Tensor:
    """Text attention plus masked image attentions, of tensors that qualify where the kernel is available.

    q (batch, pixels, inner), k and v (batch, tokens, inner) -> (batch, pixels, inner). Neighbouring rows of the batch
    share the rows of an image group's keys, values and mask. scale: of the scores; 1/√width by default.
    """
    batch, pixels, inner = q.shape
    block = _BLOCKS[_padded(inner // heads, 64), q.element_size()]
    plan = _plan(block, k, images, inner // heads, scale)
    z = q.new_empty(q.shape)
    layer = tuple(_rows(x, batch) for x in (q, k, v))
    groups = tuple(_group(batch, *image) for image in images)
    # Heads come first, so that programs that run side by side read side by side.
    grid = (heads, -(-pixels // block.pixels), batch)
    with torch.cuda.device_of(q):
        kernel()[grid](_rows(z, batch), layer, groups, plan, num_warps=block.warps, num_stages=2)
    return z


# What qualifies


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    try:
        version = importlib.import_module("triton").__version__
    except (ImportError, OSError):  # OSError: its library cannot be loaded
        return False
    return tuple(int(part) for part in version.split(".")[:2]) >= _OLDEST_TRITON


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _is_recent(device: torch.device) -> bool:
    is_cuda = device.type == "cuda" and torch.version.hip is None
    return is_cuda and torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= _OLDEST_GPU


def _is_layer(q: Tensor, k: Tensor, v: Tensor, heads: int) -> bool:
    return (
        q.ndim == k.ndim == 3
        and q.numel() > 0
        and q.dtype in (torch.float16, torch.bfloat16, torch.float32)
        and max(len(q), q.shape[1] // _SMALLEST) < _PROGRAMS
        and q.shape[2] % heads == 0
        and q.shape[2] // heads <= _WIDEST
        and k.shape == v.shape == (len(q), k.shape[1], q.shape[2])
        and 1 <= k.shape[1] <= MOST_TEXT
        and q.dtype == k.dtype == v.dtype
    )


def _is_group(q: Tensor, keys: Tensor, values: Tensor, attn_bias: Tensor | None, mask: Tensor | None) -> bool:
    return (
        keys.ndim == 3
        and keys.shape == values.shape == (len(keys), keys.shape[1], q.shape[2])
        and 1 <= keys.shape[1] <= MOST_TOKENS
        and _shares(keys, q)
        and _is_readable(keys, q)
        and _is_readable(values, q)
        and (attn_bias is None or (attn_bias.shape == keys.shape[1:2] and _is_like(attn_bias, q)))
        and (mask is None or (mask.shape == (len(mask), q.shape[1], 1) and _shares(mask, q) and _is_like(mask, q)))
    )


def _shares(x: Tensor, q: Tensor) -> bool:
    """Whether neighbouring rows of the batch can share the rows of x."""
    return len(x) > 0 and len(q) % len(x) == 0


def _is_readable(x: Tensor, q: Tensor) -> bool:
    return _is_like(x, q) and x.stride(-1) == 1 and x.shape[1] * x.stride(1) < _OFFSETS


def _is_like(x: Tensor, q: Tensor) -> bool:
    learns = torch.is_grad_enabled() and x.requires_grad
    return x.device == q.device and x.is_floating_point() and not learns


# What the kernel is given


def _plan(block: _Block, k: Tensor, images: Sequence[ImageGroup], width: int, scale: float | None) -> Plan:
    return Plan(
        width=width,
        padded=_padded(width, 64),
        scale=width**-0.5 if scale is None else scale,
        pixels=block.pixels,
        text=block.text,
        turns=-(-k.shape[1] // block.text),
        tiles=tuple(_padded(keys.shape[1], _SMALLEST) for keys, *_ in images),
        wide=k.dtype == torch.bfloat16 and _interpreted(),  # the interpreter has no products of bf16
    )


def _padded(length: int, least: int) -> int:
    return max(least, 1 << (length - 1).bit_length())


def _rows(x: Tensor, batch: int) -> Rows:
    return Rows(x, x.stride(0), x.stride(1), x.shape[1], batch // len(x))


def _group(batch: int, keys: Tensor, values: Tensor, attn_bias: Tensor | None, mask: Tensor | None) -> Group:
    beside = None if attn_bias is None else attn_bias.contiguous()
    return Group(_rows(keys, batch), _rows(values, batch), beside, None if mask is None else _rows(mask, batch))
