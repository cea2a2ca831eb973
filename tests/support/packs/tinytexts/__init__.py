"""Test-only custom node: lets the host's own loader build Flux's two text encoders in the sizes of their files.

ComfyUI builds them in the published sizes, 5 G parameters together, whatever the file (0.30); of published files the
sizes are the same.
"""

from typing import Any

import comfy.sd

ATTENTION = "encoder.block.0.layer.0.SelfAttention"
NODE_CLASS_MAPPINGS: dict[str, Any] = {}
Weights = dict[str, Any]
load = comfy.sd.load_text_encoder_state_dicts


def load_in_sizes(state_dicts: list[Weights], *more: Any, **options: Any) -> Any:
    """The host's function, with the sizes among its options where the files are those of Flux."""
    if options.get("clip_type") is comfy.sd.CLIPType.FLUX and len(state_dicts) == 2:
        clip, t5 = sorted(state_dicts, key=lambda weights: ATTENTION + ".q.weight" in weights)
        sizes = {
            "model_config": clip_sizes(clip),
            "t5xxl_model_config": t5_sizes(t5),
        }  # as long_clipl and sd1_clip read
        options["model_options"] = {**options.get("model_options", {}), **sizes}
    return load(state_dicts, *more, **options)


def clip_sizes(weights: Weights) -> dict[str, int]:
    """Of CLIP's text half, whose heads are always 64 wide."""
    inner, width = weights["text_model.encoder.layers.0.mlp.fc1.weight"].shape
    layers = sum(name.endswith("mlp.fc1.weight") for name in weights)
    heads = {"num_attention_heads": width // 64, "num_hidden_layers": layers}
    return {"hidden_size": width, "intermediate_size": inner, **heads}


def t5_sizes(weights: Weights) -> dict[str, int]:
    """Of T5's encoder."""
    inner, width = weights[f"{ATTENTION}.q.weight"].shape
    heads = weights[f"{ATTENTION}.relative_attention_bias.weight"].shape[1]
    layers = sum(name.endswith("SelfAttention.q.weight") for name in weights)
    feed = len(weights["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"])
    return {"d_model": width, "d_kv": inner // heads, "num_heads": heads, "num_layers": layers, "d_ff": feed}


if load.__module__ == comfy.sd.__name__:
    comfy.sd.load_text_encoder_state_dicts = load_in_sizes
