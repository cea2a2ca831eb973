"""The disk of somebody who opens graphs of others: miniatures under published names, and what core nodes load of it.

IP-Adapter's nodes are on trial and get the values of the file. Core nodes get a miniature of what they load, and sizes
and steps that two cores can sample.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fabricate.loras import tiny_lora
from fabricate.upscalers import tiny_upscaler
from live.pictures import EXAMPLE, FACE
from live.published import CHECKPOINT, CONTROLNET, ENCODER, of_kind

LORA, UPSCALER, VAE = "tiny.safetensors", "tiny.safetensors", "sdxl_vae.safetensors"
SMALLEST, SCALE, STEPS = 64, 8, 2

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
            }.items(),
            start=10,
        )
    },
    f"loras/{LORA}": tiny_lora,
    f"upscale_models/{UPSCALER}": tiny_upscaler,
}
"""What such a disk has beside the miniatures that every server of the tests has."""

WITHOUT = {"UNETLoader", "DualCLIPLoader", "CLIPLoader", "PhotoMakerLoader", "StyleModelLoader"}
"""Core nodes that load what there is no miniature of."""

_LOADED = {
    "ckpt_name": CHECKPOINT,
    "vae_name": VAE,
    "control_net_name": CONTROLNET,
    "lora_name": LORA,
    "model_name": UPSCALER,
    "image": EXAMPLE,
}
ENCODER_LOADER = {"class_type": "IPA_LoadVision", "inputs": {"file": ENCODER, "activation": "auto"}}
"""Instead of core's own, which takes no encoder of fewer layers than the published ones have."""

_SIZES = ("width", "height", "x", "y", "left", "top", "right", "bottom", "target_width", "target_height", "crop_w", "crop_h")
_STEPS = ("steps", "start_at_step", "end_at_step")


def furnish(models: Path) -> None:
    """Make what is not there yet."""
    for name, fabricate in FILES.items():
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            fabricate(path)


def miniature(node: Mapping[str, Any], face: bool) -> dict[str, Any]:
    """A core node with miniatures for what it loads. face: whether pictures show one."""
    if node["class_type"] == "CLIPVisionLoader":
        return ENCODER_LOADER
    loaded = _LOADED | {"image": FACE if face else EXAMPLE}
    inputs = {name: value if isinstance(value, list) else _small(name, value, loaded) for name, value in node["inputs"].items()}
    return {**node, "inputs": inputs}


def _small(name: str, value: Any, loaded: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return loaded.get(name, value)
    if name in _SIZES:
        return max(SMALLEST if name in ("width", "height") else 0, int(value) // SCALE // 8 * 8)
    return min(value, STEPS) if name in _STEPS else value
