"""A CLIP that tells an adapter what to take from pictures, and an adapter and an encoder to tell it to, all small."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.prompts.features import Features
from fabricate.adapters import KINDS, tiny_adapter

SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 3}
IMAGES = torch.rand(2, 16, 16, 3, generator=torch.Generator().manual_seed(1))


def small_clip(family: str) -> Any:
    """A CLIP of the host for SD1.5 or SDXL, of small encoders in which every weight counts."""
    from comfy import sd, sd1_clip, sdxl_clip

    makes = {
        "SD1.5": (sd1_clip.SD1ClipModel, sd1_clip.SD1Tokenizer),
        "SDXL": (sdxl_clip.SDXLClipModel, sdxl_clip.SDXLTokenizer),
    }
    model, tokenizer = makes[family]
    cpu = torch.device("cpu")
    options = {"load_device": cpu, "offload_device": cpu, "initial_device": cpu, "dtype": torch.float32}
    options |= {f"clip_{part}_model_config": SMALL for part in "lg"}
    made = sd.CLIP(SimpleNamespace(params={}, clip=model, tokenizer=tokenizer), model_options=options)
    random = torch.Generator().manual_seed(0)
    for name, weight in made.cond_stage_model.named_parameters():
        neutral = float(weight.ndim == 1 and name.endswith("weight"))
        weight.data = neutral + torch.randn(weight.shape, generator=random) * max([1, *weight.shape][-1], 10) ** -0.5
    return made


class Encoder:
    """A CLIP_VISION; what it says of pictures is `say`."""

    image_size = 8


def say(images: Tensor) -> Features:
    means = images.mean((1, 2, 3)).reshape(-1, 1, 1)
    return Features(hidden=torch.linspace(-1, 1, 5 * 64).reshape(1, 5, 64) * (1 + means))


def small_encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """An encoder that the host reads pictures with until the test ends."""
    from comfyui_ip_adapter.nodes.host import encoding, vision

    monkeypatch.setattr(encoding, "fit_pictures", lambda one, images, *how: images[..., :3])
    monkeypatch.setattr(encoding, "encode", lambda one, images: say(images))
    monkeypatch.setattr(vision, "blank_features", lambda one: say(torch.zeros(1, 8, 8, 3)))
    return Encoder()


def loaded(folder: Path, kind: str = "Instruct") -> Any:
    """A fabricated adapter of a kind, as on its socket."""
    from comfyui_ip_adapter.nodes.host.adapters import read

    return read("a", tiny_adapter(folder / "a.safetensors", **KINDS[kind]))
