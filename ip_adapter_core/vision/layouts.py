"""How files name the tensors of a vision encoder, and how they become OpenCLIP's visual tower."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping

import torch
from torch import Tensor

from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import Entry, Shape
from .parts import Layout, Part
from .timm_layouts import eva_constants, eva_parts, pe_core_parts, siglip_parts

_HF_ONCE = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_HF_LAYER = {
    "ln_1": ("layer_norm1",),
    "attn.in_proj": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn.out_proj": ("self_attn.out_proj",),
    "ln_2": ("layer_norm2",),
    "mlp.c_fc": ("mlp.fc1",),
    "mlp.c_proj": ("mlp.fc2",),
}
HF_UNUSED = ("embeddings.position_ids",)  # a constant buffer that older transformers saved
_EVA = "blocks.0.attn.inner_attn_ln.weight"
_SIGLIP = "embeddings.patch_embedding.bias"  # transformers 5 saves it without vision_model. before it
_TIMM = "attn_pool.latent"
_BARE = ("conv1.weight", "class_embedding", "ln_pre.weight", "trunk.", "attnpool.")

# Beginnings of tensor names -> what a file without a CLIP vision tower is; the first row that fits names it.
_OTHERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("image_proj", "ip_adapter", "adapter_modules."), "an IP-Adapter"),
    (("lora_", "unet.lora", "base_model.model."), "a LoRA"),
    (("control_model.", "controlnet_", "zero_convs."), "a ControlNet"),
    (
        ("model.diffusion_model.", "diffusion_model.", "input_blocks.", "down_blocks.", "double_blocks."),
        "a diffusion model",
    ),
    (("first_stage_model.", "decoder.conv_in.", "decoder.up"), "a VAE"),
    (("text_model.", "text_projection", "token_embedding.", "text.", "text_encoder."), "only the text half of a CLIP"),
    (("embeddings.class_embedding",), "a CLIP vision encoder without its projection, visual_projection.weight"),
    (("embeddings.cls_token", "cls_token", "encoder.layer."), "a vision encoder other than CLIP, such as DINOv2"),
)


def is_encoder(names: Collection[str]) -> bool:
    """Whether a file with these keys is meant to hold a vision tower, complete or not."""
    inside = any(before(segment, names) is not None for segment, *_ in _NAMINGS)
    return inside or any(name.startswith(_BARE) for name in names)


def find_layout(names: Collection[str], file: str = "This file") -> Layout:
    """The tensors of the vision tower among a file's keys, in transformers' or OpenCLIP's naming, at any prefix.

    Raises UnsupportedCheckpoint when the file holds something else, or a tower in transformers' naming is incomplete.
    """
    for sign, model, read in _NAMINGS:
        prefix = before(sign, names)
        if prefix is not None:
            return read(names, prefix, prefix + model, file)
    if any(name.startswith(_BARE) for name in names):
        return Layout("", {name: Part((name,)) for name in names})
    raise UnsupportedCheckpoint(
        "Choose a CLIP vision encoder such as CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors; "
        f"{file} holds {_what(names)}."
    )


def shapes(entries: Mapping[str, Entry], layout: Layout) -> dict[str, Shape]:
    """Shapes of the tower's tensors by OpenCLIP's names, from the header of the file alone."""
    return {name: part.shape(entries) for name, part in layout.parts.items()}


def values(tensors: Mapping[str, Tensor], layout: Layout, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tower's tensors by OpenCLIP's names, floating-point ones in one dtype; others of the file are not read."""
    read = ((name, part.value(tensors)) for name, part in layout.parts.items())
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in read}


def name_for_file(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A tower's tensors under the names of a file: transformers' names when it has names for them, else OpenCLIP's."""
    layers = sum(name.endswith(".ln_1.weight") for name in weights)
    parts = dict(_hf_parts("vision_model.", "visual_projection.weight", layers))
    if parts.keys() != weights.keys():
        return {f"visual.{name}": value for name, value in weights.items()}
    return {key: value for name, part in parts.items() for key, value in _divide(weights[name], part)}


def _divide(value: Tensor, part: Part) -> Iterator[tuple[str, Tensor]]:
    """A tensor of the tower as the tensors of a file: the inverse of `Part.value`."""
    value = value.T if part.transposed else value
    yield from zip(part.keys, value.chunk(len(part.keys)), strict=True)


def before(segment: str, names: Collection[str]) -> str | None:
    """What stands before a segment in the first name that has it; None when no name has it."""
    matches = (re.match(rf"(|.*?\.){re.escape(segment)}", name) for name in names)
    return next((match.group(1) for match in matches if match), None)


def _openclip_layout(names: Collection[str], prefix: str, model: str, file: str) -> Layout:
    return Layout(model, {name.removeprefix(model): Part((name,)) for name in names if name.startswith(model)})


def _hf_layout(names: Collection[str], prefix: str, model: str, file: str) -> Layout:
    layers = hf_layer_count(names, model)
    return _checked(dict(_hf_parts(model, f"{prefix}visual_projection.weight", layers)), names, model, file)


def _siglip_layout(names: Collection[str], prefix: str, model: str, file: str) -> Layout:
    return _checked(siglip_parts(model, hf_layer_count(names, model)), names, model, file)


def _pe_core_layout(names: Collection[str], prefix: str, model: str, file: str) -> Layout:
    layers = _count_layers(names, f"{model}transformer.resblocks.")
    return _checked(pe_core_parts(model, layers), names, model, file)


def _eva_layout(names: Collection[str], prefix: str, model: str, file: str) -> Layout:
    layers = _count_layers(names, f"{model}blocks.")
    return _checked(eva_parts(model, layers), names, model, file, eva_constants(model, layers))


def _timm_layout(names: Collection[str], prefix: str, model: str, file: str) -> Layout:
    return Layout("", {f"trunk.{name.removeprefix(model)}": Part((name,)) for name in names if name.startswith(model)})


def _checked(
    parts: dict[str, Part], names: Collection[str], model: str, file: str, unused: Collection[str] = ()
) -> Layout:
    """Raises UnsupportedCheckpoint when a tensor of the tower is missing, or the file has one that is neither of it nor
    unused."""
    in_model = {name for name in names if name.startswith(model)} - {model + name for name in HF_UNUSED} - {*unused}
    _check_keys({key for part in parts.values() for key in part.keys}, in_model, names, file)
    return Layout("", parts)


# The beginning of a name in the file that tells a naming, what the names of the tower begin with, and its reader.
_NAMINGS: tuple[tuple[str, str, Callable[[Collection[str], str, str, str], Layout]], ...] = (
    (_SIGLIP, "", _siglip_layout),
    ("vision_model.", "vision_model.", _hf_layout),
    ("visual.attn_pool.probe", "visual.", _pe_core_layout),
    (_EVA, "", _eva_layout),
    ("visual.", "visual.", _openclip_layout),
    (_TIMM, "", _timm_layout),
)


def _hf_parts(model: str, projection: str, layers: int) -> Iterator[tuple[str, Part]]:
    yield from ((name, Part((model + key,))) for name, key in _HF_ONCE.items())
    yield "proj", Part((projection,), transposed=True)
    yield from hf_layers(model, layers)


def hf_layers(model: str, layers: int) -> Iterator[tuple[str, Part]]:
    """The tensors of transformer layers, by OpenCLIP's names; model: what transformers' names begin with."""
    for layer in range(layers):
        for name, keys in _HF_LAYER.items():
            for kind in ("weight", "bias"):
                joint = "_" if name == "attn.in_proj" else "."  # torch's MultiheadAttention: in_proj_weight
                sources = tuple(f"{model}encoder.layers.{layer}.{key}.{kind}" for key in keys)
                yield f"transformer.resblocks.{layer}.{name}{joint}{kind}", Part(sources)


def hf_layer_count(names: Collection[str], model: str) -> int:
    """How many layers a half has in transformers' naming; model: what its names begin with."""
    return _count_layers(names, f"{model}encoder.layers.")


def _count_layers(names: Collection[str], beginning: str) -> int:
    pattern = re.compile(re.escape(beginning) + r"(\d+)\.")
    return 1 + max((int(match.group(1)) for name in names if (match := pattern.match(name))), default=0)


def _check_keys(needed: Collection[str], in_model: Collection[str], names: Collection[str], file: str) -> None:
    missing = sorted(key for key in needed if key not in names)
    if missing:
        raise UnsupportedCheckpoint(f"Download {file} again; it lacks {missing[0]} of its CLIP vision encoder.")
    unexpected = sorted(set(in_model) - set(needed))
    if unexpected:
        raise UnsupportedCheckpoint(
            f"Choose another file; {file} holds {unexpected[0]}, which no CLIP vision encoder has."
        )


def _what(names: Collection[str]) -> str:
    for beginnings, what in _OTHERS:
        if any(name.startswith(beginnings) for name in names):
            return what
    return f"{len(names)} tensors of another kind ({min(names)}, …)" if names else "no tensors"
