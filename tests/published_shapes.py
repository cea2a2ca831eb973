"""Published adapter files and models, recorded as sizes: what headers and configurations say, without a download."""

from comfyui_ip_adapter.ip_adapter_core.layout import FAMILIES
from comfyui_ip_adapter.ip_adapter_core.weightfile import Entry
from fabricate.adapters import projection_shapes

_BASE_H = ("base", {"embed": 1024, "tokens": 4})
_BASE_G = ("base", {"embed": 1280, "tokens": 4})
_PLUS = ("plus", {"embed": 1280, "tokens": 16, "width": 768})
_PLUS_XL = ("plus", {"embed": 1280, "tokens": 16, "width": 1280})

# file: (family, projection, description, parameters)
FILES = {
    "ip-adapter_sd15": ("SD1.5", _BASE_H, "base", 22_319_616),
    "ip-adapter_sd15_light": ("SD1.5", _BASE_H, "base", 22_319_616),
    "ip-adapter_sd15_vit-G": ("SD1.5", _BASE_G, "base", 23_106_048),
    "ip-adapter-plus_sd15": ("SD1.5", _PLUS, "plus", 49_087_488),
    "ip-adapter-plus-face_sd15": ("SD1.5", _PLUS, "plus", 49_087_488),
    "ip_plus_composition_sd15": ("SD1.5", _PLUS, "plus", 49_087_488),
    "ip-adapter-full-face_sd15": ("SD1.5", ("full face", {"embed": 1280}), "full face", 21_794_304),
    "ip-adapter_sdxl": ("SDXL", _BASE_G, "base", 351_285_248),
    "ip-adapter_sdxl_vit-h": ("SDXL", _BASE_H, "base", 349_188_096),
    "ip-adapter-plus_sdxl_vit-h": ("SDXL", _PLUS_XL, "plus", 423_748_864),
    "ip_plus_composition_sdxl": ("SDXL", _PLUS_XL, "plus", 423_748_864),
}


def entries(file: str) -> dict[str, Entry]:
    """The header of a published file."""
    name, (kind, sizes), _, _ = FILES[file]
    known = FAMILIES[name]
    projection = projection_shapes(kind, known.context, **sizes)
    named = {f"image_proj.{key}": Entry(shape, "F16") for key, shape in projection.items()}
    for layer, width in enumerate(known.widths):
        for key in ("to_k_ip", "to_v_ip"):
            named[f"ip_adapter.{2 * layer + 1}.{key}.weight"] = Entry((width, known.context), "F16")
    return named


# ComfyUI's configurations of the published families.
_SD = {
    "model_channels": 320,
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [2, 2, 2, 2],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
}
CONFIGS = {
    "SD1.5": _SD | {"context_dim": 768},
    "SD2": _SD | {"context_dim": 1024},
    "SDXL": {
        "model_channels": 320,
        "channel_mult": [1, 2, 4],
        "num_res_blocks": 2,
        "transformer_depth": [0, 0, 2, 2, 10, 10],
        "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
        "transformer_depth_middle": 10,
        "context_dim": 2048,
    },
}
