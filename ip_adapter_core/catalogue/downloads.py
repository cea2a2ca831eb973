"""TABLE of published files: what to download for a model and a kind of adapter."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A published file.

    file: its name.
    url: where to download it.
    """

    file: str
    url: str


_H94 = "https://huggingface.co/h94/IP-Adapter/resolve/main/"
_FACEID = "https://huggingface.co/h94/IP-Adapter-FaceID/resolve/main/"
_KOLORS = "https://huggingface.co/Kwai-Kolors/"
_AURAFACE = "https://huggingface.co/fal/AuraFace-v1/resolve/main/"
_INSTRUCT = "https://huggingface.co/CiaraRowles/IP-Adapter-Instruct/resolve/main/"
_XLABS = "https://huggingface.co/XLabs-AI/flux-ip-adapter-v2/resolve/main/"
_INSTANTID = "https://huggingface.co/InstantX/InstantID/resolve/main/"
_INSTANTX = "https://huggingface.co/InstantX/{}-IP-Adapter/resolve/main/ip-adapter.bin"
_ANIMA = (
    "https://github.com/l2dnjsrud/anima-ipadapter-reference-control/raw/06e10e3c2b3d85346c210b53fe159c50cda2410e/"
    "checkpoints/"
)
_LUCIFER = "https://huggingface.co/LuciferTC/Anima-IP-Adapter/resolve/main/"
_OSTRIS = "https://huggingface.co/ostris/ip-composition-adapter/resolve/main/"


def _row(folder: str, file: str) -> Published:
    return Published(file, folder + file)


_FLUX = Published("flux-ip-adapter-v2.safetensors", _XLABS + "ip_adapter.safetensors")

# (family of families.FAMILIES, kind of choose.KINDS) -> file; without a row of its own, any is plus or else base
ADAPTER_FILES: dict[tuple[str, str], Published] = {
    ("SD1.5", "base"): _row(_H94 + "models/", "ip-adapter_sd15.safetensors"),
    ("SD1.5", "light"): _row(_H94 + "models/", "ip-adapter_sd15_light_v11.bin"),
    ("SD1.5", "plus"): _row(_H94 + "models/", "ip-adapter-plus_sd15.safetensors"),
    ("SD1.5", "plus face"): _row(_H94 + "models/", "ip-adapter-plus-face_sd15.safetensors"),
    ("SD1.5", "full face"): _row(_H94 + "models/", "ip-adapter-full-face_sd15.safetensors"),
    ("SD1.5", "composition"): _row(_OSTRIS, "ip_plus_composition_sd15.safetensors"),
    ("SD1.5", "FaceID"): _row(_FACEID, "ip-adapter-faceid_sd15.bin"),
    ("SD1.5", "FaceID-Plus"): _row(_FACEID, "ip-adapter-faceid-plusv2_sd15.bin"),
    ("SD1.5", "portrait"): _row(_FACEID, "ip-adapter-faceid-portrait-v11_sd15.bin"),
    ("SD1.5", "Instruct"): _row(_INSTRUCT, "ip-adapter-instruct-sd15.bin"),
    ("SDXL", "base"): _row(_H94 + "sdxl_models/", "ip-adapter_sdxl_vit-h.safetensors"),
    ("SDXL", "plus"): _row(_H94 + "sdxl_models/", "ip-adapter-plus_sdxl_vit-h.safetensors"),
    ("SDXL", "plus face"): _row(_H94 + "sdxl_models/", "ip-adapter-plus-face_sdxl_vit-h.safetensors"),
    ("SDXL", "composition"): _row(_OSTRIS, "ip_plus_composition_sdxl.safetensors"),
    ("SDXL", "FaceID"): _row(_FACEID, "ip-adapter-faceid_sdxl.bin"),
    ("SDXL", "FaceID-Plus"): _row(_FACEID, "ip-adapter-faceid-plusv2_sdxl.bin"),
    ("SDXL", "portrait"): _row(_FACEID, "ip-adapter-faceid-portrait_sdxl.bin"),
    ("SDXL", "InstantID"): Published("ip-adapter_instantid_sdxl.bin", _INSTANTID + "ip-adapter.bin"),
    ("SDXL", "PuLID"): _row("https://huggingface.co/guozinan/PuLID/resolve/main/", "pulid_v1.1.safetensors"),
    ("SDXL", "Instruct"): _row(_INSTRUCT, "ip-adapter-instruct-sdxl.bin"),
    ("Flux", "any"): _FLUX,
    ("Flux", "base"): _FLUX,
    ("Flux", "plus"): Published("ip-adapter_flux_instantx.bin", _INSTANTX.format("FLUX.1-dev")),
    ("SD3.5 Large", "plus"): Published("ip-adapter_sd35_large.bin", _INSTANTX.format("SD3.5-Large")),
    ("Anima", "plus"): _row(_ANIMA, "anima_ip_adapter_quality_20260610.safetensors"),
    ("Anima", "base"): Published("anima_ip_adapter_siglip2.safetensors", _LUCIFER + "ip_adapter.safetensors"),
    ("Kolors", "plus"): _row(_KOLORS + "Kolors-IP-Adapter-Plus/resolve/main/", "ip_adapter_plus_general.bin"),
    ("Kolors", "FaceID-Plus"): _row(_KOLORS + "Kolors-IP-Adapter-FaceID-Plus/resolve/main/", "ipa-faceid-plus.bin"),
}

# Encoders are published under names without meaning; the names here are those of this project's workflows.
ENCODER_FILES: dict[str, Published] = {
    "CLIP-ViT-H-14": Published(
        "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors", _H94 + "models/image_encoder/model.safetensors"
    ),
    "CLIP-ViT-bigG-14": Published(
        "CLIP-ViT-bigG-14-laion2B-39B-b160k.safetensors", _H94 + "sdxl_models/image_encoder/model.safetensors"
    ),
    "CLIP-ViT-L-14": Published(
        "clip-vit-large-patch14.safetensors",
        "https://huggingface.co/openai/clip-vit-large-patch14/resolve/main/model.safetensors",
    ),
    "ViT-SO400M-14-SigLIP-384": Published(
        "siglip-so400m-patch14-384.safetensors",
        "https://huggingface.co/google/siglip-so400m-patch14-384/resolve/main/model.safetensors",
    ),
    "ViT-B-16-SigLIP2-512": Published(
        "siglip2-base-patch16-512.safetensors",
        "https://huggingface.co/google/siglip2-base-patch16-512/resolve/main/model.safetensors",
    ),
    "EVA02-L-14-336": Published(
        "EVA02_CLIP_L_336_psz14_s6B.pt",
        "https://huggingface.co/QuanSun/EVA-CLIP/resolve/main/EVA02_CLIP_L_336_psz14_s6B.pt",
    ),
    "PE-Core-L-14-336": Published(
        "PE-Core-L14-336.pt", "https://huggingface.co/facebook/PE-Core-L14-336/resolve/main/PE-Core-L14-336.pt"
    ),
    "CLIP-ViT-L-14-336": Published(
        "clip-vit-large-patch14-336.bin",
        _KOLORS + "Kolors-IP-Adapter-Plus/resolve/main/image_encoder/pytorch_model.bin",
    ),
}

# The two networks of a pack of faces that anybody may use (Apache-2.0), in a folder of their own.
FACE_FILES: tuple[Published, ...] = tuple(
    Published(f"auraface/{file}", _AURAFACE + file) for file in ("scrfd_10g_bnkps.onnx", "glintr100.onnx")
)
