"""Test-only custom node: lets the host's own loader build Anima in the sizes of its file.

ComfyUI builds it in the published sizes, whatever the file (0.30); of published files the sizes are the same.
"""

from functools import partial
from typing import Any
from unittest.mock import patch

import comfy.ldm.anima.model
import comfy.model_detection

NODE_CLASS_MAPPINGS: dict[str, Any] = {}
Weights = dict[str, Any]
detect = comfy.model_detection.detect_unet_config
Published, Reader = comfy.ldm.anima.model.Anima, comfy.ldm.anima.model.LLMAdapter


class Anima(Published):  # type: ignore[misc]
    """The host's model, whose reader of the text has the sizes that the configuration adds to its own."""

    def __init__(self, *args: Any, reader: dict[str, int] | None = None, **kwargs: Any) -> None:
        with patch.object(comfy.ldm.anima.model, "LLMAdapter", partial(Reader, **(reader or {}))):
            super().__init__(*args, **kwargs)


def detect_with_sizes(state_dict: Weights, key_prefix: str, **options: Any) -> Any:
    """The host's function, with the sizes of the file where it is Anima."""
    config = detect(state_dict, key_prefix, **options)
    if (config or {}).get("image_model") != "anima":
        return config
    file = {name.removeprefix(key_prefix): value for name, value in state_dict.items() if name.startswith(key_prefix)}
    width, text = file["blocks.0.cross_attn.k_proj.weight"].shape
    return {
        **config,
        "num_blocks": blocks(file, ""),
        "num_heads": width // len(file["blocks.0.cross_attn.q_norm.weight"]),
        "crossattn_emb_channels": text,
        "adaln_lora_dim": len(file["blocks.0.adaln_modulation_mlp.1.weight"]),
        "reader": reader_sizes(file),
    }


def reader_sizes(file: Weights) -> dict[str, int]:
    """Of the network between the text encoder and the model."""
    width, source = file["llm_adapter.blocks.0.cross_attn.k_proj.weight"].shape
    heads = width // len(file["llm_adapter.blocks.0.cross_attn.q_norm.weight"])
    sizes = {"source_dim": source, "model_dim": width, "target_dim": len(file["llm_adapter.norm.weight"])}
    return {**sizes, "num_heads": heads, "num_layers": blocks(file, "llm_adapter.")}


def blocks(file: Weights, prefix: str) -> int:
    """How many blocks there are below a prefix."""
    return sum(name.startswith(f"{prefix}blocks.") and name.endswith(".cross_attn.q_proj.weight") for name in file)


if detect.__module__ == comfy.model_detection.__name__:
    comfy.ldm.anima.model.Anima = Anima
    comfy.model_detection.detect_unet_config = detect_with_sizes
