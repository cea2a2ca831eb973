"""Adapter files with random weights, in the published layouts."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

TINY_WIDTHS = (32, 32, 64, 64, 128, 128, 128, 128, 128, 64, 64, 64, 32, 32, 32, 128)
TINY_CONTEXT = 64
SPREAD = 0.35  # of to_k_ip and to_v_ip: an effect far above every tolerance

Shapes = dict[str, tuple[int, ...]]


def projection_shapes(kind: str, context: int, embed: int, tokens: int = 4, width: int = 64, depth: int = 4) -> Shapes:
    """Names and shapes of an image projection: base, plus or full face (adapter file keys without their prefix)."""
    return {"base": _base, "plus": _plus, "full face": _full_face}[kind](context, embed, tokens, width, depth)


def adapter(
    kind: str = "base",
    widths: tuple[int, ...] = TINY_WIDTHS,
    context: int = TINY_CONTEXT,
    embed: int = 32,
    seed: int = 0,
    **more: int,
) -> dict[str, dict[str, Tensor]]:
    """The two state dicts of an adapter, as a pickled adapter file nests them.

    more: tokens, width, depth of `projection_shapes`.
    """
    random = torch.Generator().manual_seed(seed)
    projection = projection_shapes(kind, context, embed, **more)
    return {
        "image_proj": {name: _value(name, shape, random) for name, shape in projection.items()},
        "ip_adapter": {
            f"{2 * layer + 1}.{name}.weight": torch.randn(inner, context, generator=random) * SPREAD
            for layer, inner in enumerate(widths)
            for name in ("to_k_ip", "to_v_ip")
        },
    }


def flat(nested: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The same tensors as a safetensors file names them."""
    return {f"{part}.{name}": value for part, inner in nested.items() for name, value in inner.items()}


def save(path: Path, nested: dict[str, dict[str, Tensor]], dtype: torch.dtype = torch.float32) -> Path:
    """Write an adapter: .safetensors flat, .bin as nested pickle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cast = {part: {name: value.to(dtype) for name, value in inner.items()} for part, inner in nested.items()}
    if path.suffix == ".safetensors":
        save_file(flat(cast), path)
    else:
        torch.save(cast, path)
    return path


def tiny_adapter(path: Path, **options: Any) -> Path:
    """An adapter for the miniature family."""
    return save(path, adapter(**options), torch.float16)


def _value(name: str, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    values = torch.randn(shape, generator=random)
    if len(shape) == 1:
        return values * 0.1 + (1.0 if name.endswith("weight") else 0.0)
    return values * shape[-1] ** -0.5


def _base(context: int, embed: int, tokens: int, width: int, depth: int) -> Shapes:
    wide = tokens * context
    return {"proj.weight": (wide, embed), "proj.bias": (wide,), "norm.weight": (context,), "norm.bias": (context,)}


def _full_face(context: int, embed: int, tokens: int, width: int, depth: int) -> Shapes:
    return {
        **{"proj.0.weight": (embed, embed), "proj.0.bias": (embed,)},
        **{"proj.2.weight": (context, embed), "proj.2.bias": (context,)},
        **{"proj.3.weight": (context,), "proj.3.bias": (context,)},
    }


def _plus(context: int, embed: int, tokens: int, width: int, depth: int) -> Shapes:
    shapes: Shapes = {"latents": (1, tokens, width)}
    shapes |= {"proj_in.weight": (width, embed), "proj_in.bias": (width,)}
    shapes |= {"proj_out.weight": (context, width), "proj_out.bias": (context,)}
    shapes |= {"norm_out.weight": (context,), "norm_out.bias": (context,)}
    for layer in range(depth):
        name = f"layers.{layer}"
        for norm in ("0.norm1", "0.norm2", "1.0"):
            shapes |= {f"{name}.{norm}.weight": (width,), f"{name}.{norm}.bias": (width,)}
        shapes |= {f"{name}.0.to_q.weight": (width, width), f"{name}.0.to_kv.weight": (2 * width, width)}
        shapes |= {f"{name}.0.to_out.weight": (width, width)}
        shapes |= {f"{name}.1.1.weight": (4 * width, width), f"{name}.1.3.weight": (width, 4 * width)}
    return shapes
