"""Adapter files with random weights, in the published layouts."""

from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

TINY_WIDTHS = (32, 32, 64, 64, 128, 128, 128, 128, 128, 64, 64, 64, 32, 32, 32, 128)
TINY_CONTEXT = 64
SPREAD = 0.35  # of to_k_ip and to_v_ip: an effect far above every tolerance
LEVELS, IDENTITY = 5, 5  # of PuLID: levels of a picture, and tokens of an embedding in its IDFormer
LORA = ("to_q", "to_k", "to_v", "to_out")

# Every kind at a small size: options of `adapter`. What tells a kind (512, 1024 and 2048) is as it is published.
KINDS: dict[str, dict[str, Any]] = {
    "base": {},
    "plus": {"kind": "plus", "embed": 64, "tokens": 16},
    "Instruct": {"kind": "Instruct", "embed": 64, "tokens": 16, "text": 64},
    "full face": {"kind": "full face", "embed": 64},
    "FaceID": {"kind": "FaceID", "mlp": 32, "rank": 4},
    "portrait": {"kind": "portrait", "tokens": 16, "mlp": 32},
    "portrait unnorm": {"kind": "portrait unnorm", "tokens": 16},
    "XLabs": {"bias": True},
    "InstantX SD3.5": {"kind": "InstantX SD3.5", "embed": 64, "tokens": 16, "head": 16},
    "InstantX Flux": {"kind": "InstantX Flux", "widths": (128,) * 16, "embed": 1152, "tokens": 16},
    "PuLID v1": {"kind": "PuLID v1", "embed": 64, "tokens": 10, "width": 192, "mlp": 32},
    "PuLID v1.1": {"kind": "PuLID v1.1", "embed": 64, "tokens": 12, "width": 192, "inner": 128, "mlp": 32, "depth": 10},
    "Anima PE-Core": {"kind": "Anima PE-Core", "embed": 64, "tokens": 16, "depth": 2, "gated": True},
    "Anima SigLIP2": {"kind": "Anima SigLIP2", "context": 768, "embed": 768, "bias": True, "rank": 4, "faded": 64},
    "FaceID-Plus v2": {"kind": "FaceID-Plus", "embed": 64, "mlp": 32, "rank": 4},
    "Kolors plus": {"kind": "plus", "embed": 1024, "tokens": 16, "width": 2048, "inner": 64, "depth": 1, "feed": 32},
    "Kolors FaceID-Plus": {"kind": "FaceID-Plus", "embed": 64, "tokens": 6, "mlp": 32, "token_width": 128},
}

Shapes = dict[str, tuple[int, ...]]
Nested = dict[str, dict[str, Tensor]]


class Sizes(NamedTuple):
    """The numbers that fix an image projection; no kind has them all.

    context: of its tokens; embed: of what it reads of an encoder; width, depth, inner and feed: of a resampler, whose
    inner is the heads together; face and mlp: of a face embedding and of the layer that reads it; waves: of a timestep;
    text: of the states of a text.
    """

    context: int
    embed: int = 32
    tokens: int = 4
    width: int = 64
    depth: int = 4
    inner: int | None = None
    feed: int | None = None
    face: int = 512
    mlp: int = 1024
    waves: int = 32
    text: int = 64


def projection_shapes(kind: str, context: int, **sizes: int) -> Shapes:
    """Names and shapes of an image projection of a kind of PROJECTIONS (adapter file keys without their prefix)."""
    return PROJECTIONS[kind](Sizes(context, **sizes))


def lora_shapes(widths: tuple[int, ...], context: int, rank: int) -> Shapes:
    """Names and shapes of the LoRA inside FaceID files: self-attentions even, cross-attentions odd."""
    shapes: Shapes = {}
    for number, width in enumerate(width for width in widths for _ in "12"):
        for name in LORA:
            read = context if number % 2 and name in ("to_k", "to_v") else width
            lora = f"{number}.{name}_lora"
            shapes |= {f"{lora}.down.weight": (rank, read), f"{lora}.up.weight": (width, rank)}
    return shapes


def timed_shapes(layers: int, context: int, time: int, head: int) -> Shapes:
    """Names and shapes of what makes layers of SD3.5 timed, and of the norms of their heads."""
    shapes: Shapes = {}
    for number in range(1, 2 * layers, 2):
        shapes |= _linear(f"{number}.norm_ip.linear", time, 2 * context)
        shapes |= {f"{number}.{name}.weight": (head,) for name in ("norm_q", "norm_k", "norm_ip_k")}
    return shapes


def gate_shapes(layers: int) -> Shapes:
    """Names and shapes of the gates of layers of Anima."""
    return {f"{number}.ip_gate": () for number in range(1, 2 * layers, 2)}


def faded_shapes(widths: tuple[int, ...], text: int, rank: int | None) -> Shapes:
    """Names and shapes of the gates of layers behind blocks of Anima, and of the LoRA of its cross-attentions."""
    shapes: Shapes = {}
    for layer, width in enumerate(widths):
        shapes |= _linear(f"{2 * layer + 1}.adaln_ip.1", width, width)
    lora = {} if rank is None else lora_shapes(widths, text, rank)
    return shapes | {name: shape for name, shape in lora.items() if int(name.split(".")[0]) % 2}


def layer_shapes(widths: tuple[int, ...], context: int, rank: int | None = None, bias: bool = False) -> Shapes:
    """Names and shapes of the other half of a file: keys and values of every cross-attention, and a LoRA."""
    shapes: Shapes = {
        f"{2 * layer + 1}.{name}.{part}": (inner, context) if part == "weight" else (inner,)
        for layer, inner in enumerate(widths)
        for name in ("to_k_ip", "to_v_ip")
        for part in ("weight", "bias")[: 1 + bias]
    }
    return shapes if rank is None else shapes | lora_shapes(widths, context, rank)


def adapter(
    kind: str = "base",
    widths: tuple[int, ...] = TINY_WIDTHS,
    context: int = TINY_CONTEXT,
    embed: int = 32,
    seed: int = 0,
    *,
    rank: int | None = None,
    token_width: int | None = None,
    bias: bool = False,
    head: int | None = None,
    gated: bool = False,
    faded: int | None = None,
    **more: int,
) -> Nested:
    """The two state dicts of an adapter, as a pickled adapter file nests them.

    rank: of its LoRA, None for none; token_width: where it is not the layers' context; bias: whether keys and
    values have one; head: width of a head, where layers are timed; gated: whether layers have gates; faded: width of
    texts, where layers are behind blocks of Anima; more: of `Sizes`.
    """
    random = torch.Generator().manual_seed(seed)
    projection = projection_shapes(kind, token_width or context, embed=embed, **more)
    layers = layer_shapes(widths, context, None if faded else rank, bias)
    if faded:
        layers |= faded_shapes(widths, faded, rank)
    if head is not None:
        layers |= timed_shapes(len(widths), context, projection["latents"][2], head)
    if gated:
        layers |= gate_shapes(len(widths))
    return {
        "image_proj": {name: _value(name, shape, random) for name, shape in projection.items()},
        "ip_adapter": {name: _layer_value(name, shape, random) for name, shape in layers.items()},
    }


def flat(nested: Nested) -> dict[str, Tensor]:
    """The same tensors as a safetensors file names them."""
    return {f"{part}.{name}": value for part, inner in nested.items() for name, value in inner.items()}


def as_xlabs(named: Mapping[str, Any]) -> dict[str, Any]:
    """A flat file under the names that XLabs gives to its tensors."""
    return {_name_of_xlabs(name): value for name, value in named.items()}


def as_pulid(named: Mapping[str, Any]) -> dict[str, Any]:
    """A flat file under the names that PuLID gives to its tensors."""
    halves = ("image_proj.", "id_adapter."), ("ip_adapter.", "id_adapter_attn_layers.")
    kv = ("to_k_ip", "id_to_k"), ("to_v_ip", "id_to_v")
    return {reduce(lambda name, pair: name.replace(*pair, 1), (*halves, *kv), old): v for old, v in named.items()}


def _name_of_xlabs(name: str) -> str:
    half, inner = name.split(".", 1)
    if half == "image_proj":
        return f"ip_adapter_proj_model.{inner}"
    number, layer, part = inner.split(".")
    block, which = (int(number) - 1) // 2, layer[3]
    return f"double_blocks.{block}.processor.ip_adapter_double_stream_{which}_proj.{part}"


def as_anima(named: Mapping[str, Any]) -> dict[str, Any]:
    """A flat file under the names that anima_lora gives to its tensors."""
    return {_name_of_anima(name): value for name, value in named.items()}


def as_lucifer(named: Mapping[str, Any]) -> dict[str, Any]:
    """A flat file under the names that LuciferTC gives to its tensors."""
    return {_name_of_lucifer(name): value for name, value in named.items()}


def _name_of_lucifer(name: str) -> str:
    _, number, layer, *part = name.split(".")
    block = f"blocks.{int(number) // 2}"
    if layer.endswith("_lora"):
        theirs = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "output_proj"}[layer[: -len("_lora")]]
        return f"lora.base_model.model.{block}.cross_attn.{theirs}.lora_{'A' if part[0] == 'down' else 'B'}.weight"
    return ".".join([block, layer.replace("to_k_ip", "ip_k_proj").replace("to_v_ip", "ip_v_proj"), *part])


def _name_of_anima(name: str) -> str:
    half, inner = name.split(".", 1)
    if half == "image_proj":
        return inner if inner == "ip_centroid" else f"resampler.{inner}"
    number, layer, *part = inner.split(".")
    return ".".join([layer, str(int(number) // 2), *part])


def counted(nested: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """An adapter, or its shapes, whose layers are numbered one by one, as InstantX does."""
    layers = {}
    for name, value in nested["ip_adapter"].items():
        number, rest = name.split(".", 1)
        layers[f"{int(number) // 2}.{rest}"] = value
    return {**nested, "ip_adapter": layers}


def doubled(named: Mapping[str, Any]) -> dict[str, Any]:
    """A flat file that has its layers a second time, as trainers name them."""
    again = {name.replace("ip_adapter.", "adapter_modules.", 1): value for name, value in named.items()}
    return {**named, **again}


def save(path: Path, nested: Nested, dtype: torch.dtype = torch.float32) -> Path:
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


def _layer_value(name: str, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Strong enough to be seen, and a LoRA about as strong as a third of the weights it is added to."""
    if ".norm_" in name:
        return _value(name, shape, random)
    if not shape:  # a gate, of either sign and far from 1
        return 0.6 * torch.randn(shape, generator=random).sign() + 0.1 * torch.randn(shape, generator=random)
    values = torch.randn(shape, generator=random)
    return values * (SPREAD * shape[-1] ** -0.5 if "_lora." in name else SPREAD)


def _base(size: Sizes) -> Shapes:
    wide = size.tokens * size.context
    return {"proj.weight": (wide, size.embed), "proj.bias": (wide,)} | _norm("norm", size.context)


def _full_face(size: Sizes) -> Shapes:
    inner = _linear("proj.0", size.embed, size.embed) | _linear("proj.2", size.embed, size.context)
    return inner | _norm("proj.3", size.context)


def _face(size: Sizes) -> Shapes:
    inner = _linear("proj.0", size.face, size.mlp) | _linear("proj.2", size.mlp, size.tokens * size.context)
    return inner | _norm("norm", size.context)


def _face_plus(size: Sizes) -> Shapes:
    """The tokens of the face are the latents, so there are none in the file."""
    perceiver = _perceiver(size._replace(width=size.context))
    return _face(size) | {f"perceiver_resampler.{name}": shape for name, shape in perceiver.items()}


def _plus(size: Sizes) -> Shapes:
    return {"latents": (1, size.tokens, size.width)} | _perceiver(size)


def _instruct(size: Sizes) -> Shapes:
    """Two more stacks of layers, half as wide inside, which read texts."""
    shapes = _plus(size)
    for name in ("proj_new_input", "proj_prompt_input"):
        shapes |= _linear(name, size.text, size.width)
    for name in ("new_input_layers", "prompt_layers"):
        shapes |= _perceiver_layers(size._replace(feed=size.feed or 2 * size.width), name)
    return shapes


def _instantx_sd35(size: Sizes) -> Shapes:
    shapes = _plus(size) | _linear("time_embedding.linear_1", size.waves, size.width)
    shapes |= _linear("time_embedding.linear_2", size.width, size.width)
    for layer in range(size.depth):
        shapes |= _linear(f"layers.{layer}.2.1", size.width, 4 * size.width)
    return shapes


def _instantx_flux(size: Sizes) -> Shapes:
    return _face(size._replace(face=size.embed, mlp=2 * size.embed))


def _anima_pe_core(size: Sizes) -> Shapes:
    width = size.width
    shapes: Shapes = {"ip_centroid": (size.embed,), "queries": (1, size.tokens, width)}
    shapes |= _linear("kv_proj", size.embed, width) | _norm("out_norm", width) | _linear("out", width, size.context)
    for block in range(size.depth):
        name = f"blocks.{block}"
        for part in ("q_norm_x", "kv_norm_x", "norm_s", "norm_f"):
            shapes |= _norm(f"{name}.{part}", width)
        for part in ("xattn", "sattn"):
            shapes |= {f"{name}.{part}.in_proj_weight": (3 * width, width), f"{name}.{part}.in_proj_bias": (3 * width,)}
            shapes |= _linear(f"{name}.{part}.out_proj", width, width)
        shapes |= _linear(f"{name}.ffn.0", width, 4 * width) | _linear(f"{name}.ffn.2", 4 * width, width)
    return shapes


def _portrait_unnorm(size: Sizes) -> Shapes:
    return _plus(size._replace(embed=size.face))


def _id_encoder(size: Sizes) -> Shapes:
    shapes = _mapping("body", size.face + size.embed, size.mlp, (size.tokens - LEVELS) * size.context)
    for level in range(LEVELS):
        for name in ("mapping", "mapping_patch"):
            shapes |= _mapping(f"{name}_{level}", size.width, size.mlp, size.context)
    return shapes


def _id_former(size: Sizes) -> Shapes:
    """Its latents are as wide as its levels."""
    width = size.width
    shapes: Shapes = {"latents": (1, size.tokens, width), "proj_out": (width, size.context)} | _perceiver_layers(size)
    for level in range(LEVELS):
        shapes |= _mapping(f"mapping_{level}", width, size.mlp, width)
    return shapes | _mapping("id_embedding_mapping", size.face + size.embed, size.mlp, IDENTITY * width)


def _mapping(name: str, read: int, inner: int, wide: int) -> Shapes:
    """PuLID's mappings: two layers with norms, and a third one."""
    shapes = _linear(f"{name}.0", read, inner) | _norm(f"{name}.1", inner) | _linear(f"{name}.3", inner, inner)
    return shapes | _norm(f"{name}.4", inner) | _linear(f"{name}.6", inner, wide)


def _perceiver(size: Sizes) -> Shapes:
    shapes = _linear("proj_in", size.embed, size.width) | _linear("proj_out", size.width, size.context)
    return shapes | _norm("norm_out", size.context) | _perceiver_layers(size)


def _perceiver_layers(size: Sizes, stack: str = "layers") -> Shapes:
    width, inner, feed = size.width, size.inner or size.width, size.feed or 4 * size.width
    shapes: Shapes = {}
    for layer in range(size.depth):
        name = f"{stack}.{layer}"
        for norm in ("0.norm1", "0.norm2", "1.0"):
            shapes |= _norm(f"{name}.{norm}", width)
        shapes |= {f"{name}.0.to_q.weight": (inner, width), f"{name}.0.to_kv.weight": (2 * inner, width)}
        shapes |= {f"{name}.0.to_out.weight": (width, inner)}
        shapes |= {f"{name}.1.1.weight": (feed, width), f"{name}.1.3.weight": (width, feed)}
    return shapes


def _linear(name: str, inner: int, outer: int) -> Shapes:
    return {f"{name}.weight": (outer, inner), f"{name}.bias": (outer,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


PROJECTIONS: dict[str, Callable[[Sizes], Shapes]] = {
    "base": _base,
    "plus": _plus,
    "Instruct": _instruct,
    "full face": _full_face,
    "FaceID": _face,
    "portrait": _face,
    "FaceID-Plus": _face_plus,
    "portrait unnorm": _portrait_unnorm,
    "PuLID v1": _id_encoder,
    "PuLID v1.1": _id_former,
    "InstantX SD3.5": _instantx_sd35,
    "InstantX Flux": _instantx_flux,
    "Anima PE-Core": _anima_pe_core,
    "Anima SigLIP2": lambda size: {},
}
