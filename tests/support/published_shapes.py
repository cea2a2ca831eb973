"""Published adapter files and models, recorded as sizes: what headers and configurations say, without a download."""

import json
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import open_clip
import torch

from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import Entry
from comfyui_ip_adapter.ip_adapter_core.layers.families import GEOMETRIES
from fabricate.adapters import (
    as_anima,
    as_lucifer,
    as_pulid,
    as_xlabs,
    counted,
    faded_shapes,
    gate_shapes,
    layer_shapes,
    projection_shapes,
    timed_shapes,
)
from fabricate.towers import TINY, model_config

BYTES = {"F16": 2, "BF16": 2, "F32": 4}


class File(NamedTuple):
    """A published file: what it is for, the sizes of its projection, its parameters, and what it is identified as.

    layers: the family whose layers it has; token_width: where its tokens are not as wide as the layers read; rank: of
    its LoRA, which has lora of the parameters; safetensors: its size in bytes, where names and shapes prove it; pickle:
    the size of a .bin, which is a little more than that of its tensors; xlabs: whether it has XLabs' names and biases;
    head: width of a head, where layers are timed; counted: whether layers are numbered one by one, as InstantX does;
    inner: whether it has the layers of a family's other authors; anima: whether it has anima_lora's names and gates;
    lucifer: whether it has LuciferTC's names and gates, behind blocks;
    reads: the sizes that are widths of what it reads; pulid: whether it has PuLID's names.
    """

    layers: str
    kind: str
    sizes: Mapping[str, int]
    variant: str
    parameters: int
    token_width: int | None = None
    rank: int | None = None
    lora: int = 0
    family: str | None = None
    dtypes: tuple[str, str] = ("F16", "F16")
    xlabs: bool = False
    head: int | None = None
    counted: bool = False
    inner: bool = False
    anima: bool = False
    lucifer: bool = False
    reads: tuple[str, ...] = ("embed",)
    pulid: bool = False
    safetensors: int | None = None
    pickle: int | None = None


_ANIMA_TEXT = 1024
_BASE_H = ("base", {"embed": 1024}, "base")
_BASE_G = ("base", {"embed": 1280}, "base")
_PLUS = ("plus", {"embed": 1280, "tokens": 16, "width": 768}, "plus")
_PLUS_XL = ("plus", {"embed": 1280, "tokens": 16, "width": 1280}, "plus")
_INSTRUCT: dict[str, int] = {"embed": 1280, "tokens": 16, "text": 768}
_FACE: tuple[str, dict[str, int], str] = ("FaceID", {}, "FaceID")
_PORTRAIT = ("portrait", {"tokens": 16}, "portrait")
_UNNORM = ("portrait unnorm", {"tokens": 16, "width": 1280}, "portrait unnorm")
_FACE_PLUS: tuple[str, dict[str, int]] = ("FaceID-Plus", {"embed": 1280})
_KOLORS_PLUS = ("plus", {"embed": 1024, "tokens": 16, "width": 2048, "inner": 768}, "Kolors plus")
_KOLORS_FACE = ("FaceID-Plus", {"embed": 1024, "tokens": 6}, "Kolors FaceID-Plus")
_LORA_SD: dict[str, Any] = {"rank": 128, "lora": 25_509_888}
_LORA_XL: dict[str, Any] = {"rank": 128, "lora": 185_794_560}
_FP32: dict[str, Any] = {"dtypes": ("F32", "F32")}

FILES: dict[str, File] = {
    "ip-adapter_sd15": File("SD1.5", *_BASE_H, 22_319_616, safetensors=44_642_768),
    "ip-adapter_sd15_light": File("SD1.5", *_BASE_H, 22_319_616, safetensors=44_642_768),
    "ip-adapter_sd15_light_v11": File("SD1.5", *_BASE_H, 22_319_616, pickle=44_642_977),
    "ip-adapter_sd15_vit-G": File("SD1.5", *_BASE_G, 23_106_048, safetensors=46_215_640),
    "ip-adapter-plus_sd15": File("SD1.5", *_PLUS, 49_087_488, safetensors=98_183_288),
    "ip-adapter-plus-face_sd15": File("SD1.5", *_PLUS, 49_087_488, safetensors=98_183_288),
    "ip_plus_composition_sd15": File("SD1.5", *_PLUS, 49_087_488),
    "ip-adapter-full-face_sd15": File(
        "SD1.5", "full face", {"embed": 1280}, "full face", 21_794_304, safetensors=43_592_352
    ),
    "ip-adapter_sdxl": File("SDXL", *_BASE_G, 351_285_248, safetensors=702_585_376),
    "ip-adapter_sdxl_vit-h": File("SDXL", *_BASE_H, 349_188_096, safetensors=698_391_064),
    "ip-adapter-plus_sdxl_vit-h": File("SDXL", *_PLUS_XL, 423_748_864, safetensors=847_517_512),
    "ip-adapter-plus-face_sdxl_vit-h": File("SDXL", *_PLUS_XL, 423_748_864, safetensors=847_517_512),
    "ip_plus_composition_sdxl": File("SDXL", *_PLUS_XL, 423_748_864),
    "noobIPAMARK1_mark1": File("SDXL", *_BASE_G, 351_285_248, **_FP32),
    "ip-adapter-faceid_sd15": File("SD1.5", *_FACE, 48_354_816, **_LORA_SD, pickle=96_740_574),
    "ip-adapter-faceid-plus_sd15": File("SD1.5", *_FACE_PLUS, "FaceID-Plus v1", 78_260_736, **_LORA_SD),
    "ip-adapter-faceid-plusv2_sd15": File(
        "SD1.5", *_FACE_PLUS, "FaceID-Plus v2", 78_260_736, **_LORA_SD, pickle=156_558_509
    ),
    "ip-adapter-faceid-portrait_sd15": File("SD1.5", *_PORTRAIT, 32_291_328),
    "ip-adapter-faceid-portrait-v11_sd15": File("SD1.5", *_PORTRAIT, 32_291_328, pickle=64_586_623),
    "ip-adapter-faceid_sdxl": File("SDXL", *_FACE, 535_507_968, **_LORA_XL),
    "ip-adapter-faceid-plusv2_sdxl": File(
        "SDXL", *_FACE_PLUS, "FaceID-Plus v2", 743_707_648, **_LORA_XL, pickle=1_487_555_181
    ),
    "ip-adapter-faceid-portrait_sdxl": File("SDXL", *_PORTRAIT, 374_903_808, pickle=749_822_515),
    "ip-adapter-faceid-portrait_sdxl_unnorm": File(
        "SDXL", *_UNNORM, 422_765_824, dtypes=("F32", "F16"), pickle=1_009_523_411
    ),
    "ip-adapter (InstantID)": File("SDXL", *_UNNORM, 422_765_824, **_FP32),
    "ip_adapter_plus_general (Kolors)": File("SDXL", *_KOLORS_PLUS, 506_552_320, family="Kolors"),
    "ipa-faceid-plus (Kolors)": File("SDXL", *_KOLORS_FACE, 1_192_903_680, token_width=4096, family="Kolors"),
    "ip_adapter (XLabs Flux)": File("Flux", "base", {"embed": 768}, "XLabs", 490_874_880, xlabs=True),
    "ip-adapter (InstantX SD3.5)": File(
        "SD3.5 Large",
        "InstantX SD3.5",
        {"embed": 1152, "tokens": 64, "width": 1280, "waves": 320},
        "InstantX SD3.5",
        797_925_888,
        head=64,
        counted=True,
    ),
    "ip-adapter (InstantX Flux)": File(
        "Flux",
        "InstantX Flux",
        {"embed": 1152, "tokens": 128},
        "InstantX Flux",
        2_645_600_512,
        counted=True,
        inner=True,
    ),
    "anima_ip_adapter_quality_20260610": File(
        "Anima",
        "Anima PE-Core",
        {"embed": 1024, "tokens": 16, "width": 1024, "depth": 2},
        "Anima PE-Core",
        153_156_636,
        dtypes=("BF16", "BF16"),
        anima=True,
    ),
    "ip_adapter (LuciferTC Anima)": File(
        "Anima",
        "Anima SigLIP2",
        {"embed": 768},
        "Anima SigLIP2",
        251_568_128,
        rank=32,
        lora=45_875_200,
        dtypes=("BF16", "BF16"),
        inner=True,
        lucifer=True,
    ),
    "ip-adapter-instruct-sd15": File("SD1.5", "Instruct", {**_INSTRUCT, "width": 768}, "Instruct", 88_054_272, **_FP32),
    "ip-adapter-instruct-sdxl": File(
        "SDXL", "Instruct", {**_INSTRUCT, "width": 1280}, "Instruct", 530_636_544, **_FP32
    ),
    "ip_adapter (XLabs Flux v2)": File("Flux", "base", {"embed": 768, "tokens": 16}, "XLabs", 528_672_768, xlabs=True),
}

# Layouts that no published file has and people make all the same.
_ID_ENCODER = ("PuLID v1", {"embed": 768, "tokens": 10, "width": 1024}, "PuLID v1")
_ID_FORMER = ("PuLID v1.1", {"embed": 768, "tokens": 32, "width": 1024, "depth": 10}, "PuLID v1.1")
_OF_PULID: dict[str, Any] = {"reads": ("embed", "width")}
FILES |= {
    "pulid_v1": File("SDXL", *_ID_ENCODER, 395_673_600, pulid=True, **_OF_PULID),
    "ip-adapter_pulid_sdxl_fp16": File("SDXL", *_ID_ENCODER, 395_673_600, **_OF_PULID),
    "pulid_v1.1": File("SDXL", *_ID_FORMER, 492_185_600, pulid=True, **_OF_PULID),
}
UNPUBLISHED: dict[str, File] = {
    "base for SD2": File("SD2", *_BASE_H, 29_759_488),
    "plus for SDXL on bigG": File("SDXL", "plus", {"embed": 1664, "tokens": 16, "width": 1280}, "plus", 424_240_384),
    "FaceID whose LoRA was taken out": File("SD1.5", *_FACE, 22_844_928),
}


def entries(file: str) -> dict[str, Entry]:
    """The header of a published file."""
    return header({**FILES, **UNPUBLISHED}[file])


def header(file: File) -> dict[str, Entry]:
    """Names, shapes and dtypes of a file with these sizes."""
    known = GEOMETRIES[file.layers][file.inner]
    halves = {
        "image_proj": projection_shapes(file.kind, file.token_width or known.context, **file.sizes),
        "ip_adapter": layer_shapes(
            known.widths, known.context, None if file.lucifer else file.rank, file.xlabs or file.lucifer
        ),
    }
    if file.head is not None:
        halves["ip_adapter"] |= timed_shapes(len(known.widths), known.context, file.sizes["width"], file.head)
    if file.anima:
        halves["ip_adapter"] |= gate_shapes(len(known.widths))
    if file.lucifer:
        halves["ip_adapter"] |= faded_shapes(known.widths, _ANIMA_TEXT, file.rank)
    if file.counted:
        halves = counted(halves)
    named = {
        f"{half}.{key}": Entry(shape, dtype)
        for (half, shapes), dtype in zip(halves.items(), file.dtypes, strict=True)
        for key, shape in shapes.items()
    }
    if file.pulid:
        return as_pulid(named)
    if file.anima:
        return as_anima(named)
    if file.lucifer:
        return as_lucifer(named) | _beside_cross_attentions(known.widths, file.rank or 0)
    return as_xlabs(named) if file.xlabs else named


@lru_cache
def registered_entries(name: str) -> dict[str, Entry]:
    """Names and shapes of a model that OpenCLIP knows."""
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        clip = open_clip.CLIP(config["embed_dim"], config["vision_cfg"], model_config(TINY)["text_cfg"])
    return {key: Entry(tuple(tensor.shape), "F32") for key, tensor in clip.state_dict().items()}


def _beside_cross_attentions(widths: tuple[int, ...], rank: int) -> dict[str, Entry]:
    """The LoRA that LuciferTC's file has for the rest of each block, and its nodes leave out."""
    named: dict[str, Entry] = {}
    for block, width in enumerate(widths):
        read = {f"self_attn.{name}_proj": (width, width) for name in ("q", "k", "v", "output")}
        read |= {"mlp.layer1": (width, 4 * width), "mlp.layer2": (4 * width, width)}
        for part, (inner, outer) in read.items():
            lora = f"lora.base_model.model.blocks.{block}.{part}.lora"
            named |= {
                f"{lora}_A.weight": Entry((rank, inner), "BF16"),
                f"{lora}_B.weight": Entry((outer, rank), "BF16"),
            }
    return named


def parameters(named: Mapping[str, Entry]) -> int:
    """How many numbers a file holds."""
    return sum(prod(entry.shape) for entry in named.values())


def safetensors_header(named: Mapping[str, Entry]) -> bytes:
    """The beginning of a safetensors file without metadata, as its library writes it: wide dtypes first, then by name.

    The tensors follow; together with `tensor_bytes` it is the size of the file.
    """
    rows, start = {}, 0
    for name, entry in sorted(named.items(), key=lambda item: (-BYTES[item[1].dtype], item[0])):
        end = start + prod(entry.shape) * BYTES[entry.dtype]
        rows[name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(rows, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def tensor_bytes(named: Mapping[str, Entry]) -> int:
    """The size of all tensors of a file."""
    return sum(prod(entry.shape) * BYTES[entry.dtype] for entry in named.values())
