"""The disk of somebody who opens graphs of others: miniatures under published names, and what core nodes load of it.

IP-Adapter's nodes are on trial and get the values of the file. Core nodes get a miniature of what they load, and sizes
and steps that two cores can sample.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from comfyui_ip_adapter.ip_adapter_core.compat.signatures import OTHER_SHAPES, SIGNATURES
from drawn import draw
from fabricate.loras import tiny_lora
from fabricate.towers import TINY
from fabricate.upscalers import tiny_upscaler
from live import specimens
from live.models import fabricate_models
from live.pictures import EXAMPLE, FACE, face, landscape
from live.prompting import SIZES, drawn_inputs
from live.published import CHECKPOINT, CONTROLNET, ENCODER, of_kind

OLD = SIGNATURES | OTHER_SHAPES
LORA, UPSCALER, VAE = "tiny.safetensors", "tiny.safetensors", "sdxl_vae.safetensors"
SMALLEST, SCALE, STEPS = 64, 8, 2
SIDE, WIDE = 128, (0, 16, 128, 112)  # pixels of pictures, and the part of one that is no square


FILES: dict[str, Callable[[Path], Path]] = {
    **{
        f"ipadapter/{name}": of_kind(kind, seed)
        for seed, (name, kind) in enumerate(
            {
                "ip-adapter-plus-face_sd15.safetensors": "plus",
                "ip-adapter-full-face_sd15.safetensors": "full face",
                "ip-adapter_sdxl.safetensors": "base",
                "ip-adapter_sdxl_vit-h.safetensors": "base",
                "ip-adapter-plus_sdxl_vit-h.safetensors": "plus",
                "ip-adapter-plus-face_sdxl_vit-h.safetensors": "plus",
                "ip-adapter-faceid-plusv2_sdxl.bin": "FaceID-Plus v2",
                "XL ip adapter plus vit-H.safetensors": "plus",
            }.items(),
            start=10,
        )
    },
    "ipadapter/ip-adapter-flux.bin": of_kind("InstantX Flux", 30),
    f"loras/{LORA}": tiny_lora,
    f"upscale_models/{UPSCALER}": tiny_upscaler,
}
"""What such a disk has beside the miniatures that every server of the tests has."""

WITHOUT = {"UNETLoader", "DualCLIPLoader", "CLIPLoader", "PhotoMakerLoader", "StyleModelLoader"}
"""Core nodes that load what there is no miniature of."""

OPEN_PRESETS = {
    "IPAdapterUnifiedLoader": "PLUS (high strength)",
    "IPAdapterUnifiedLoaderFaceID": "FACEID PLUS V2",
}
"""What whoever runs a graph chooses where its file says None."""

_LOADED = {
    "ckpt_name": CHECKPOINT,
    "vae_name": VAE,
    "control_net_name": CONTROLNET,
    "lora_name": LORA,
    "model_name": UPSCALER,
    "image": EXAMPLE,
}


def _our_encoder(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"class_type": "IPA_LoadVision", "inputs": {"file": ENCODER, "activation": "auto"}}


def _plain_text(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {"class_type": "CLIPTextEncode", "inputs": {"text": "a picture", "clip": inputs["clip"]}}


INSTEAD = {
    "CLIPVisionLoader": _our_encoder,
    "CLIPTextEncodeSDXL": _plain_text,
    "CLIPTextEncodeSDXLRefiner": _plain_text,
}
"""Core nodes that take no miniature: encoders of as many layers as the published ones have, and SDXL's two texts."""

_SIZES = (
    "width",
    "height",
    "x",
    "y",
    "left",
    "top",
    "right",
    "bottom",
    "target_width",
    "target_height",
    "crop_w",
    "crop_h",
)
_STEPS = ("steps", "start_at_step", "end_at_step")


def furnish(base: Path) -> None:
    """Make the models and pictures that are not there yet."""
    fabricate_models(base / "models")
    specimens.add(base / "models", specimens.GOOD)
    for name, fabricate in FILES.items():
        path = base / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            fabricate(path)
    (base / "input").mkdir(parents=True, exist_ok=True)
    for name, picture in (*drawn_inputs(), (EXAMPLE, landscape(SIDE).crop(WIDE)), (FACE, face(SIDE))):
        picture.save(base / "input" / name)


def furnish_embeds(folder: Path, graphs: Mapping[str, Any]) -> None:
    """Make the files of embeds that graphs name, in the input folder: of one picture."""
    for quoted in re.findall(r'"[^"]*\.ipadpt"', json.dumps(graphs)):
        _save_embeds(folder, json.loads(quoted), draw(1, TINY.embed_dim))


def fit_embeds(folder: Path, prompt: Mapping[str, Any]) -> None:
    """Make those files of embeds again that an adapter of the kind plus reads, as it reads them."""
    for node in prompt.values():
        source = prompt.get(_origin(node, "pos_embed"), {})
        reads_hidden = "plus" in str(prompt.get(_origin(node, "ipadapter"), {}).get("inputs")).lower()
        if source.get("class_type") == "IPAdapterLoadEmbeds" and reads_hidden:
            _save_embeds(folder, source["inputs"]["embeds"], draw(1, 17, TINY.width))


def _save_embeds(folder: Path, name: str, embeds: torch.Tensor) -> None:
    path = folder / name.replace("\\", "/")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(embeds, path)


def _origin(node: Mapping[str, Any], name: str) -> str:
    """The node that an input comes from; empty where it is not connected."""
    value = node["inputs"].get(name)
    return value[0] if isinstance(value, list) else ""


def miniature(node: Mapping[str, Any], shows_face: bool) -> dict[str, Any]:
    """A node with miniatures for what it loads. shows_face: whether pictures show one."""
    kind, inputs = node["class_type"], node["inputs"]
    if kind in INSTEAD:
        return INSTEAD[kind](inputs)
    if kind in OLD:
        chosen = {"preset": OPEN_PRESETS[kind]} if inputs.get("preset") == "None" else {}
        return {**node, "inputs": {**inputs, **chosen}}
    loaded = _LOADED | {"image": FACE if shows_face else EXAMPLE}
    small = {name: value if isinstance(value, list) else _small(name, value, loaded) for name, value in inputs.items()}
    return {**node, "inputs": small}


def _small(name: str, value: Any, loaded: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return value if value in SIZES else loaded.get(name, value)
    if name in _SIZES:
        return max(SMALLEST if name in ("width", "height") else 0, int(value) // SCALE // 8 * 8)
    return min(value, STEPS) if name in _STEPS else value
