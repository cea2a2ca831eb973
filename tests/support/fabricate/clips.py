"""Whole CLIP files, both halves in one, in each published naming: small seeded models."""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

from fabricate.towers import TINY, model_config

TEXT: dict[str, Any] = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
CONFIG: dict[str, Any] = model_config(TINY) | {"text_cfg": TEXT, "quick_gelu": True}


def tiny_clip(path: Path, custom: bool = False, prefix: str = "", **text: Any) -> Any:
    """Write OpenCLIP's model with its config, and return it. custom: in the form whose text half has a prefix of its
    own; text: of the config's text_cfg."""
    config = CONFIG | {"text_cfg": TEXT | text}
    torch.manual_seed(0)
    sort = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    model = _seeded(sort(**config))
    save_file({prefix + key: value.contiguous() for key, value in model.state_dict().items()}, path)
    _write_config(path, config)
    return model


def tiny_transformers_clip(path: Path) -> Any:
    """Write transformers' model with the config that OpenCLIP needs, and return it."""
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    text = {
        "vocab_size": TEXT["vocab_size"],
        "hidden_size": TEXT["width"],
        "intermediate_size": 4 * TEXT["width"],
        "num_hidden_layers": TEXT["layers"],
        "num_attention_heads": TEXT["heads"],
        "max_position_embeddings": TEXT["context_length"],
        "bos_token_id": 49406,
        "eos_token_id": 49407,
    }
    vision = {
        "hidden_size": TINY.width,
        "intermediate_size": TINY.inner,
        "num_hidden_layers": TINY.layers,
        "num_attention_heads": TINY.width // TINY.head_width,
        "image_size": TINY.image,
        "patch_size": TINY.patch,
    }
    model = _seeded(CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=TINY.embed_dim)))
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
    _write_config(path, CONFIG)
    return model


def _write_config(path: Path, config: dict[str, Any]) -> None:
    path.with_suffix(".json").write_text(json.dumps({"model_cfg": config}))


def _seeded(model: Any) -> Any:
    """The model with weights of which each one matters to the result."""
    for name, weight in model.state_dict().items():
        if weight.is_floating_point() and weight.ndim:
            neutral = 1.0 if weight.ndim == 1 and name.endswith("weight") else 0.0
            weight.copy_(neutral + torch.randn_like(weight) / max(weight.shape[-1], 8) ** 0.5)
    return model.train(False).requires_grad_(False)
