"""CLIP vision towers of any size: their keys and shapes in both published namings, and small seeded ones as files."""

import json
from math import prod, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file

from fabricate.unet import Shapes, conv, linear, norm

EVA, EVA_EMBED = "eva02_tiny_patch14_224", 64
POOLING_WIDTH, POOLING_EMBED = 64, 24
QKV = ("q", "k", "v")


class Size(NamedTuple):
    """The numbers that fix a CLIP vision tower; `inner` is the width inside its feed-forward."""

    width: int = 64
    layers: int = 3
    inner: int = 256
    patch: int = 14
    image: int = 56
    embed_dim: int = 32
    head_width: int = 32

    @property
    def tokens(self) -> int:
        """Patches and CLS."""
        return (self.image // self.patch) ** 2 + 1


TINY = Size()
VIT_H_14 = Size(1280, 32, 5120, 14, 224, 1024, 80)
VIT_BIGG_14 = Size(1664, 48, 8192, 14, 224, 1280, 104)
VIT_L_14 = Size(1024, 24, 4096, 14, 224, 768, 64)
VIT_L_14_336 = VIT_L_14._replace(image=336)


def tiny_tower(
    path: Path, layout: str = "hf", size: Size = TINY, seed: int = 0, prefix: str = "", **config: Any
) -> dict[str, torch.Tensor]:
    """Write a tower and its `<stem>.json`; the same seed is the same tower in both layouts. Returns its tensors.

    layout: "hf", "openclip" (as in a whole CLIP) or "bare" (the visual state dict alone). config: quick_gelu.
    """
    weights = {prefix + key: value for key, value in LAYOUTS[layout](truth(size, seed)).items()}
    save_file(weights, path)
    path.with_suffix(".json").write_text(json.dumps({"model_cfg": model_config(size) | config}))
    return weights


def tiny_eva(path: Path, seed: int = 0) -> Path:
    """Write the smallest EVA02 of timm, of 12 layers and 192 wide, and its config, as PuLID reads one of 24."""
    vision = {"timm_model_name": EVA, "timm_pool": "token", "timm_proj": None, "image_size": 224}
    return _timm_tower(path, eva_shapes(), vision, EVA_EMBED, seed)


def pooling_tower(path: Path, seed: int = 0) -> Path:
    """Write a tower of timm's, 64 wide, whose head pools all tokens by attention, as PE-Core's does."""
    vision = {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": None, "image_size": 160}
    return _timm_tower(path, pooling_shapes(), vision, POOLING_EMBED, seed)


def _timm_tower(path: Path, shapes: Shapes, vision: dict[str, Any], embed: int, seed: int) -> Path:
    """Write the tower under OpenCLIP's names for those of timm, and its config; what ends in .pt is a pickle."""
    generator = torch.Generator().manual_seed(seed)
    weights = {f"visual.trunk.{key}": _noise(key, shape, generator) for key, shape in shapes.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    (torch.save if path.suffix == ".pt" else save_file)(weights, path)
    path.with_suffix(".json").write_text(json.dumps({"embed_dim": embed, "vision_cfg": vision}))
    return path


def eva_shapes(width: int = 192, inner: int = 512, layers: int = 12) -> Shapes:
    """Every key of EVA02 in timm's naming, whose feed-forward is gated."""
    shapes: Shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 16 * 16 + 1, width)}
    shapes |= conv("patch_embed.proj", 3, width, 14)
    for layer in range(layers):
        name = f"blocks.{layer}"
        shapes |= norm(f"{name}.norm1", width) | norm(f"{name}.norm2", width)
        shapes |= {f"{name}.attn.{part}_bias": (width,) for part in "qv"}
        shapes |= {f"{name}.attn.qkv.weight": (3 * width, width)} | linear(f"{name}.attn.proj", width, width)
        shapes |= linear(f"{name}.mlp.fc1", width, 2 * inner) | linear(f"{name}.mlp.fc2", inner, width)
    return shapes | norm("norm", width) | linear("head", width, EVA_EMBED)


def pooling_shapes(width: int = POOLING_WIDTH, layers: int = 6) -> Shapes:
    """Every key of timm's test_vit with a head that pools by attention."""
    shapes: Shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 10 * 10 + 1, width)}
    shapes |= conv("patch_embed.proj", 3, width, 16)
    for layer in range(layers):
        name = f"blocks.{layer}"
        shapes |= norm(f"{name}.norm1", width) | norm(f"{name}.norm2", width)
        shapes |= linear(f"{name}.attn.qkv", width, 3 * width) | linear(f"{name}.attn.proj", width, width)
        shapes |= linear(f"{name}.mlp.fc1", width, 3 * width) | linear(f"{name}.mlp.fc2", 3 * width, width)
    pool = "attn_pool"
    shapes |= norm("norm", width) | norm(f"{pool}.norm", width) | {f"{pool}.latent": (1, 1, width)}
    shapes |= linear(f"{pool}.q", width, width) | linear(f"{pool}.kv", width, 2 * width)
    shapes |= linear(f"{pool}.proj", width, width)
    shapes |= linear(f"{pool}.mlp.fc1", width, 3 * width) | linear(f"{pool}.mlp.fc2", 3 * width, width)
    return shapes | linear("head", width, POOLING_EMBED)


def model_config(size: Size) -> dict[str, Any]:
    """OpenCLIP's config of the tower, text half included as its reader demands."""
    vision = {
        "layers": size.layers,
        "width": size.width,
        "head_width": size.head_width,
        "mlp_ratio": size.inner / size.width,
        "patch_size": size.patch,
        "image_size": size.image,
    }
    text = {"context_length": 8, "vocab_size": 32, "width": 32, "heads": 2, "layers": 1}
    return {"embed_dim": size.embed_dim, "vision_cfg": vision, "text_cfg": text}


def hf_shapes(size: Size) -> Shapes:
    """Every key of a tower in transformers' naming (CLIPVisionModelWithProjection)."""
    width, model = size.width, "vision_model"
    shapes: Shapes = {
        f"{model}.embeddings.class_embedding": (width,),
        f"{model}.embeddings.patch_embedding.weight": (width, 3, size.patch, size.patch),
        f"{model}.embeddings.position_embedding.weight": (size.tokens, width),
        "visual_projection.weight": (size.embed_dim, width),
    }
    shapes |= norm(f"{model}.pre_layrnorm", width) | norm(f"{model}.post_layernorm", width)
    for layer in range(size.layers):
        name = f"{model}.encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= linear(f"{name}.self_attn.{part}", width, width)
        shapes |= norm(f"{name}.layer_norm1", width) | norm(f"{name}.layer_norm2", width)
        shapes |= linear(f"{name}.mlp.fc1", width, size.inner) | linear(f"{name}.mlp.fc2", size.inner, width)
    return shapes


def openclip_shapes(size: Size, prefix: str = "visual.") -> Shapes:
    """Every key of a tower in OpenCLIP's naming."""
    width = size.width
    shapes: Shapes = {
        "class_embedding": (width,),
        "positional_embedding": (size.tokens, width),
        "proj": (width, size.embed_dim),
        "conv1.weight": (width, 3, size.patch, size.patch),
    }
    shapes |= norm("ln_pre", width) | norm("ln_post", width)
    for layer in range(size.layers):
        name = f"transformer.resblocks.{layer}"
        shapes |= norm(f"{name}.ln_1", width) | norm(f"{name}.ln_2", width)
        shapes |= {f"{name}.attn.in_proj_weight": (3 * width, width), f"{name}.attn.in_proj_bias": (3 * width,)}
        shapes |= linear(f"{name}.attn.out_proj", width, width)
        shapes |= linear(f"{name}.mlp.c_fc", width, size.inner) | linear(f"{name}.mlp.c_proj", size.inner, width)
    return {prefix + key: shape for key, shape in shapes.items()}


def truth(size: Size = TINY, seed: int = 0) -> dict[str, torch.Tensor]:
    """Seeded weights in transformers' naming, no norm or bias neutral, so that each one matters to the result."""
    generator = torch.Generator().manual_seed(seed)
    return {key: _noise(key, shape, generator) for key, shape in hf_shapes(size).items()}


def openclip_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tower as OpenCLIP saves it: queries, keys and values in one matrix, the projection transposed."""
    return {f"visual.{key}": value for key, value in bare_weights(weights).items()}


def bare_weights(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tower as the state dict of OpenCLIP's visual half alone."""
    renamed = {"proj": weights["visual_projection.weight"].T.contiguous()}
    for key, value in weights.items():
        name = key.removeprefix("vision_model.")
        if ".q_proj." in key:
            joined = torch.cat([weights[key.replace(".q_proj.", f".{letter}_proj.")] for letter in QKV])
            renamed[_renamed(name).replace("self_attn.q_proj.", "attn.in_proj_")] = joined
        elif ".k_proj." not in key and ".v_proj." not in key and key != "visual_projection.weight":
            renamed[_renamed(name)] = value
    return renamed


LAYOUTS = {"hf": lambda weights: weights, "openclip": openclip_weights, "bare": bare_weights}
_RENAMED = (
    ("encoder.layers.", "transformer.resblocks."),
    ("self_attn.out_proj", "attn.out_proj"),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("pre_layrnorm", "ln_pre"),
    ("post_layernorm", "ln_post"),
    ("embeddings.class_embedding", "class_embedding"),
    ("embeddings.patch_embedding", "conv1"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
)


def _renamed(name: str) -> str:
    for theirs, ours in _RENAMED:
        name = name.replace(theirs, ours)
    return name


def _noise(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(shape, generator=generator)
    if len(shape) > 1:
        return noise / sqrt(prod(shape[1:]))
    return 0.2 * noise + float("norm" in key and key.endswith("weight"))
