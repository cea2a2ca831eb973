"""Towers that OpenCLIP builds of timm's, in the naming of those who published them: SigLIP, PE-Core and EVA02.

Source of the names of PE-Core and EVA02: timm, models/eva.py. SigLIP's are transformers' SiglipVisionModel, SigLIP2's
of a fixed size too. SigLIP and PE-Core were trained on pictures squashed to a square, with mean and deviation 0.5
(open_clip, pretrained.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .parts import Part

_KINDS = ("weight", "bias")
_QUERY, _KEYS_VALUES = (0, 1), (1, 3)  # thirds of a joint projection

_SIGLIP = {
    "patch_embed.proj": "embeddings.patch_embedding",
    "norm": "post_layernorm",
    "attn_pool.proj": "head.attention.out_proj",
    "attn_pool.norm": "head.layernorm",
    "attn_pool.mlp.fc1": "head.mlp.fc1",
    "attn_pool.mlp.fc2": "head.mlp.fc2",
}
_SIGLIP_LAYER = {
    "norm1": ("layer_norm1",),
    "attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn.proj": ("self_attn.out_proj",),
    "norm2": ("layer_norm2",),
    "mlp.fc1": ("mlp.fc1",),
    "mlp.fc2": ("mlp.fc2",),
}
_PE_CORE = {
    "norm_pre": "ln_pre",
    "norm": "ln_post",
    "attn_pool.proj": "attn_pool.attn.out_proj",
    "attn_pool.norm": "attn_pool.layernorm",
    "attn_pool.mlp.fc1": "attn_pool.mlp.c_fc",
    "attn_pool.mlp.fc2": "attn_pool.mlp.c_proj",
}
_PE_CORE_LAYER = {
    "norm1": ("ln_1",),
    "attn.proj": ("attn.out_proj",),
    "norm2": ("ln_2",),
    "mlp.fc1": ("mlp.c_fc",),
    "mlp.fc2": ("mlp.c_proj",),
}
_EVA = {"patch_embed.proj": "patch_embed.proj", "norm": "norm", "head": "head"}
_EVA_LAYER = {
    "norm1": ("norm1",),
    "attn.norm": ("attn.inner_attn_ln",),
    "attn.proj": ("attn.proj",),
    "norm2": ("norm2",),
    "mlp.fc1_g": ("mlp.w1",),
    "mlp.fc1_x": ("mlp.w2",),
    "mlp.norm": ("mlp.ffn_ln",),
    "mlp.fc2": ("mlp.w3",),
}
_EVA_ATTENTION = {
    "q_proj.weight": "q_proj.weight",
    "q_proj.bias": "q_bias",
    "k_proj.weight": "k_proj.weight",
    "v_proj.weight": "v_proj.weight",
    "v_proj.bias": "v_bias",
}


def siglip_parts(model: str, layers: int) -> dict[str, Part]:
    """SigLIP in transformers' naming, by OpenCLIP's names; model: what transformers' names begin with."""
    parts = {
        "trunk.pos_embed": Part((f"{model}embeddings.position_embedding.weight",), axes=1),
        "trunk.attn_pool.latent": Part((f"{model}head.probe",)),
        **_once(model, _SIGLIP),
        **dict(_pooled(f"{model}head.attention.in_proj_")),
    }
    for layer in range(layers):
        parts |= dict(_layer(f"{model}encoder.layers.{layer}.", layer, _SIGLIP_LAYER))
    return parts


def pe_core_parts(model: str, layers: int) -> dict[str, Part]:
    """PE-Core in Meta's naming, by OpenCLIP's names; model: what Meta's names begin with."""
    parts = {
        "trunk.cls_token": Part((f"{model}class_embedding",), axes=2),
        "trunk.pos_embed": Part((f"{model}positional_embedding",), axes=1),
        "trunk.patch_embed.proj.weight": Part((f"{model}conv1.weight",)),
        "trunk.head.weight": Part((f"{model}proj",), transposed=True),
        "trunk.head.bias": Part((f"{model}proj",), zeros=True),
        "trunk.attn_pool.latent": Part((f"{model}attn_pool.probe",)),
        **_once(model, _PE_CORE),
        **dict(_pooled(f"{model}attn_pool.attn.in_proj_")),
    }
    for layer in range(layers):
        block = f"{model}transformer.resblocks.{layer}."
        parts |= dict(_layer(block, layer, _PE_CORE_LAYER))
        parts |= {f"trunk.blocks.{layer}.attn.qkv.{kind}": Part((f"{block}attn.in_proj_{kind}",)) for kind in _KINDS}
    return parts


def eva_parts(model: str, layers: int) -> dict[str, Part]:
    """EVA02 in its authors' naming, by OpenCLIP's names; model: what the authors' names begin with."""
    parts = {f"trunk.{name}": Part((f"{model}{name}",)) for name in ("cls_token", "pos_embed")} | _once(model, _EVA)
    for layer in range(layers):
        block = f"blocks.{layer}"
        parts |= dict(_layer(f"{model}{block}.", layer, _EVA_LAYER))
        parts |= {
            f"trunk.{block}.attn.{name}": Part((f"{model}{block}.attn.{key}",)) for name, key in _EVA_ATTENTION.items()
        }
    return parts


def eva_constants(model: str, layers: int) -> set[str]:
    """The rotary angles that files of EVA02 carry: they follow from the sizes."""
    owners = ("rope", *(f"blocks.{layer}.attn.rope" for layer in range(layers)))
    return {f"{model}{owner}.freqs_{wave}" for owner in owners for wave in ("cos", "sin")}


def _once(model: str, names: Mapping[str, str]) -> dict[str, Part]:
    return {f"trunk.{name}.{kind}": Part((f"{model}{key}.{kind}",)) for name, key in names.items() for kind in _KINDS}


def _layer(block: str, layer: int, names: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, Part]]:
    for name, keys in names.items():
        for kind in _KINDS:
            yield f"trunk.blocks.{layer}.{name}.{kind}", Part(tuple(f"{block}{key}.{kind}" for key in keys))


def _pooled(projection: str) -> Iterator[tuple[str, Part]]:
    """The pooling head's query and its keys and values, which files have in one projection."""
    for name, thirds in (("q", _QUERY), ("kv", _KEYS_VALUES)):
        for kind in _KINDS:
            yield f"trunk.attn_pool.{name}.{kind}", Part((f"{projection}{kind}",), thirds=thirds)
