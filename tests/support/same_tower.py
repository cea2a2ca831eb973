"""One vision tower twice: in ComfyUI's own encoder, and in ours."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from fabricate.towers import TINY, Size, openclip_weights, tiny_tower, truth


def save_tower(path: Path) -> None:
    """A tower in OpenCLIP's layout whose weights fp16 holds exactly: core keeps its encoders in fp16."""
    tiny_tower(path, "openclip")
    save_file(openclip_weights(exact()), path)


def exact() -> dict[str, Tensor]:
    """The weights of the tower in transformers' naming."""
    return {name: weight.half().float() for name, weight in truth().items()}


def cores(folder: Path) -> Any:
    """ComfyUI's own encoder with the weights of the fabricated tower."""
    from comfy.clip_vision import ClipVisionModel

    config = folder / "config.json"
    config.write_text(json.dumps(core_config(TINY)))
    encoder = ClipVisionModel(str(config))
    missing, unexpected = encoder.load_sd(exact())
    assert not missing
    assert not unexpected
    return encoder


def ours(folder: Path) -> Any:
    """Ours, with the same weights."""
    from comfyui_ip_adapter.ip_adapter_core.vision import encoder as vision
    from comfyui_ip_adapter.nodes.host.vision import OpenClipVision

    save_tower(folder / "same_tower.safetensors")
    return OpenClipVision(vision.load(folder / "same_tower.safetensors"), torch.device("cpu"))


def core_config(size: Size) -> dict[str, Any]:
    """The tower as transformers' configs describe it."""
    return {
        "model_type": "clip_vision_model",
        "hidden_act": "gelu",
        "hidden_size": size.width,
        "intermediate_size": size.inner,
        "image_size": size.image,
        "num_attention_heads": size.width // size.head_width,
        "num_channels": 3,
        "num_hidden_layers": size.layers,
        "patch_size": size.patch,
        "projection_dim": size.embed_dim,
    }
