"""Miniatures under the names of published files, so that the graphs in workflows/ run as they are."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fabricate import adapters, anima, flux, sd3
from fabricate.adapters import KINDS, TINY_CONTEXT, tiny_adapter
from fabricate.checkpoints import save, tiny_checkpoint, tiny_controlnet, tiny_kolors, tiny_vae
from fabricate.faces import pack
from fabricate.towers import POOLING_WIDTH, TINY, Size, pooling_tower, tiny_eva, tiny_tower

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
CONTROLNET = "control_v11p_sd15_canny_fp16.safetensors"
ENCODER = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"
BASE = "ip-adapter_sd15.safetensors"
PLUS = "ip-adapter-plus_sd15.safetensors"
FLUX, XLABS = "flux1-dev.safetensors", "flux-ip-adapter-v2.safetensors"
VIT_L = "clip-vit-large-patch14.safetensors"
SD35, SD35_ADAPTER = "sd3.5_large_fp8_scaled.safetensors", "ip-adapter_sd35_large.bin"
SIGLIP = "siglip-so400m-patch14-384.safetensors"
ANIMA_ADAPTER = "anima_ip_adapter_quality_20260610.safetensors"
WIDE = Size(width=1024, layers=2, inner=64, head_width=128)  # the width by which Kolors' adapter is known
LARGE = TINY._replace(embed_dim=48)  # so that no adapter of the miniature family takes it for its own
OTHER = LARGE._replace(width=96)  # nor one that reads patches; of CLIP's construction, which needs no other package


def adapter(path: Path, **options: Any) -> Path:
    """An adapter for the miniature family."""
    return tiny_adapter(path, context=TINY_CONTEXT, **options)


def encoder(path: Path, size: Size = TINY) -> Path:
    """An encoder with the config that tells OpenCLIP its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = tiny_tower(path, size=size)
    if path.suffix == ".bin":
        torch.save(weights, path)
    return path


def of_kind(kind: str, seed: int) -> Callable[[Path], Path]:
    """An adapter of a kind, for the miniature family and encoder."""
    return partial(adapter, seed=seed, **KINDS[kind])


def xlabs(path: Path) -> Path:
    """An adapter of XLabs for the miniature Flux and its encoder."""
    tiny = flux.TINY
    nested = adapters.adapter("base", (tiny.width,) * tiny.double, tiny.context, LARGE.embed_dim, tokens=16, bias=True)
    return save(path, adapters.as_xlabs(adapters.flat(nested)))


def instantx_sd35(path: Path, embed: int = OTHER.width) -> Path:
    """An adapter of InstantX for the miniature SD3.5 and an encoder of a width."""
    sizes: dict[str, Any] = {"embed": embed, "tokens": 16, "head": sd3.HEAD}
    nested = adapters.adapter("InstantX SD3.5", (sd3.WIDTH,) * sd3.HEADS, sd3.WIDTH, **sizes)
    return adapters.save(path, adapters.counted(nested), torch.float16)


def pulid(path: Path) -> Path:
    """An adapter of PuLID's authors for the miniature family and the smallest EVA02."""
    nested = adapters.adapter(context=TINY_CONTEXT, seed=9, **KINDS["PuLID v1.1"])
    return save(path, adapters.as_pulid(adapters.flat(nested)))


def of_anima_lora(path: Path) -> Path:
    """An adapter for the miniature Anima and its encoder."""
    sizes: dict[str, Any] = {"embed": POOLING_WIDTH, "tokens": 16, "depth": 2, "gated": True}
    nested = adapters.adapter("Anima PE-Core", (anima.WIDTH,) * anima.BLOCKS, anima.TEXT, **sizes)
    return save(path, adapters.as_anima(adapters.flat(nested)))


def placeholder(path: Path) -> Path:
    """A file that only its name is needed of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


PUBLISHED: dict[str, Callable[[Path], Path]] = {
    f"checkpoints/{CHECKPOINT}": tiny_checkpoint,
    f"controlnet/{CONTROLNET}": tiny_controlnet,
    f"clip_vision/{ENCODER}": encoder,
    f"ipadapter/{BASE}": partial(adapter, embed=TINY.embed_dim),
    f"ipadapter/{PLUS}": of_kind("plus", 1),
    "ipadapter/ip_plus_composition_sd15.safetensors": of_kind("plus", 2),
    "ipadapter/ip-adapter-faceid_sd15.bin": of_kind("FaceID", 3),
    "ipadapter/ip-adapter-faceid-plusv2_sd15.bin": of_kind("FaceID-Plus v2", 4),
    "ipadapter/ip-adapter-faceid-portrait-v11_sd15.bin": of_kind("portrait", 5),
    "insightface/auraface": pack,
    "ipadapter/ip_adapter_plus_general.bin": of_kind("Kolors plus", 6),
    "clip_vision/clip-vit-large-patch14-336.bin": partial(encoder, size=WIDE),
    "diffusion_models/diffusion_pytorch_model.fp16.safetensors": tiny_kolors,
    "LLM/chatglm3-8bit.safetensors": placeholder,
    "vae/sdxl_vae.safetensors": tiny_vae,
    f"diffusion_models/{FLUX}": flux.tiny_flux,
    "text_encoders/clip_l.safetensors": flux.tiny_clip_l,
    "text_encoders/t5xxl_fp16.safetensors": flux.tiny_t5,
    "vae/ae.safetensors": partial(tiny_vae, latents=16),
    f"ipadapter/{XLABS}": xlabs,
    "checkpoints/sd_xl_base_1.0.safetensors": tiny_checkpoint,
    "controlnet/instantid-controlnet.safetensors": tiny_controlnet,
    "ipadapter/instantid/ip-adapter.bin": of_kind("portrait unnorm", 8),
    "insightface/antelopev2": pack,
    f"clip_vision/{VIT_L}": partial(encoder, size=LARGE),
    f"checkpoints/{SD35}": sd3.tiny_sd3,
    f"ipadapter/{SD35_ADAPTER}": instantx_sd35,
    f"clip_vision/{SIGLIP}": partial(encoder, size=OTHER),
    "diffusion_models/anima-base-v1.0.safetensors": anima.tiny_anima,
    "text_encoders/qwen_3_06b_base.safetensors": anima.tiny_qwen,
    "vae/qwen_image_vae.safetensors": anima.tiny_taehv,
    f"ipadapter/{ANIMA_ADAPTER}": of_anima_lora,
    "clip_vision/PE-Core-L14-336.pt": pooling_tower,
    "ipadapter/pulid_v1.1.safetensors": pulid,
    "ipadapter/ip-adapter-instruct-sd15.bin": of_kind("Instruct", 10),
    "clip_vision/EVA02_CLIP_L_336_psz14_s6B.pt": tiny_eva,
}
