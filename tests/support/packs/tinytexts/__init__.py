"""Test-only custom node: lets the host's own loaders build the text encoders of Flux, SD3.5 and Anima in the sizes
of their files.

ComfyUI builds them in the published sizes, 5 G parameters together, whatever the file (0.30); of published files the
sizes are the same.
"""

from typing import Any

import comfy.sd

ATTENTION = "encoder.block.0.layer.0.SelfAttention"
QWEN = "model.layers.0."
NODE_CLASS_MAPPINGS: dict[str, Any] = {}
Weights = dict[str, Any]
T5_OF_CHECKPOINTS = "text_encoders.t5xxl.transformer."
load = comfy.sd.load_text_encoder_state_dicts
guess = comfy.sd.load_state_dict_guess_config
tell = comfy.sd.detect_te_model


def load_in_sizes(state_dicts: list[Weights], *more: Any, **options: Any) -> Any:
    """The host's function, with the sizes among its options where the files are those of Flux or Anima."""
    sizes: dict[str, dict[str, int]] = {}
    if options.get("clip_type") is comfy.sd.CLIPType.FLUX and len(state_dicts) == 2:
        clip, t5 = sorted(state_dicts, key=lambda weights: ATTENTION + ".q.weight" in weights)
        sizes = {"model_config": clip_sizes(clip), "t5xxl_model_config": t5_sizes(t5)}  # as long_clipl, sd1_clip read
    if len(state_dicts) == 1 and is_narrow_qwen(state_dicts[0]):
        sizes = {"qwen3_06b_model_config": qwen_sizes(state_dicts[0])}
    return load(state_dicts, *more, **{**options, "model_options": {**options.get("model_options", {}), **sizes}})


def guess_in_sizes(state_dict: Weights, *more: Any, **options: Any) -> Any:
    """The host's function for whole checkpoints, with the sizes of T5 where one is inside."""
    inside = [name for name in state_dict if name.startswith(T5_OF_CHECKPOINTS)]
    if inside:
        t5 = {name.removeprefix(T5_OF_CHECKPOINTS): state_dict[name] for name in inside}
        sizes = {"t5xxl_model_config": t5_sizes(t5)}
        options["te_model_options"] = {**options.get("te_model_options", {}), **sizes}
    return guess(state_dict, *more, **options)


def is_narrow_qwen(weights: Weights) -> bool:
    """Whether a text encoder is of Qwen3's construction and narrower than any that was published."""
    return f"{QWEN}self_attn.q_norm.weight" in weights and len(weights[f"{QWEN}input_layernorm.weight"]) < 1024


def tell_narrow(weights: Weights) -> Any:
    """The host's function, which tells Qwen3 by its width."""
    return comfy.sd.TEModel.QWEN3_06B if is_narrow_qwen(weights) else tell(weights)


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


def qwen_sizes(weights: Weights) -> dict[str, int]:
    """Of Qwen3, whose heads are always 128 wide."""
    inner, width = weights[f"{QWEN}mlp.gate_proj.weight"].shape
    heads, shared = (len(weights[f"{QWEN}self_attn.{part}_proj.weight"]) // 128 for part in "qk")
    layers = sum(name.endswith("self_attn.q_proj.weight") for name in weights)
    numbers = {"num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": shared}
    return {"hidden_size": width, "intermediate_size": inner, **numbers}


if load.__module__ == comfy.sd.__name__:
    comfy.sd.load_text_encoder_state_dicts = load_in_sizes
    comfy.sd.load_state_dict_guess_config = guess_in_sizes
    comfy.sd.detect_te_model = tell_narrow
