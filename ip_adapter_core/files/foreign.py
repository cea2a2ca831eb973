"""Image adapters and their like that this package does not run: what tells each, what it is, and where it belongs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .errors import UnsupportedCheckpoint
from .tensor_file import Entry

_NODES = "the nodes of {}"
_OWN_CODE = "its authors' own code, {}"


class Sign(NamedTuple):
    """A tensor that tells a kind of file.

    name: pattern of the whole name; what pickles nest their tensors in may stand before it.
    shape: lengths of its axes, None for any; empty where the shape does not matter.
    """

    name: str
    shape: tuple[int | None, ...] = ()

    def find(self, named: Mapping[str, Entry]) -> str | None:
        """The first name of a file that has this sign."""
        matches = re.compile(rf"(?:module\.|model\.)?(?:{self.name})").fullmatch
        return next((name for name, entry in named.items() if matches(name) and self._fits(entry)), None)

    def _fits(self, entry: Entry) -> bool:
        if not self.shape:
            return True
        alike = len(entry.shape) == len(self.shape)
        return alike and all(want in (None, has) for has, want in zip(entry.shape, self.shape, strict=True))


class Foreign(NamedTuple):
    """A kind of file: a row of FOREIGN.

    what: what it is, with its article.
    use: what it is used with, and the folder it is looked for in.
    signs: a file of this kind has every one of them.
    """

    what: str
    use: str
    signs: tuple[Sign, ...]


class Found(NamedTuple):
    """What a file is.

    kind: a row of FOREIGN.
    name: of the tensor that told it.
    """

    kind: Foreign
    name: str


_PROJECTION, _LAYER = r"image_proj(?:_model)?\.", r"(?:ip_adapter|adapter_modules)\.\d+\."

FOREIGN = (
    Foreign(
        "InstantCharacter for Flux",
        _OWN_CODE.format("Tencent/InstantCharacter"),
        (Sign(_LAYER + r"norm_ip_q\.weight"), Sign(_LAYER + r"to_k_ip\.weight", (3072, None))),
    ),
    Foreign(
        "an IP-Adapter-Instruct for SD3 Medium",
        _OWN_CODE.format("unity-research/IP-Adapter-Instruct"),
        (Sign(_PROJECTION + r"proj_out_big\.weight"), Sign(_PROJECTION + r"proj_new_input\.weight")),
    ),
    Foreign(
        "PuLID for Flux",
        _NODES.format("ComfyUI_PuLID_Flux_ll") + ", from models/pulid",
        (Sign(r"pulid_encoder\..+|pulid_ca\.\d+\..+"),),
    ),
    Foreign(
        "an Anima adapter that changes PE-Core by a LoRA of its own",
        _OWN_CODE.format("sorryhyun/anima_lora"),
        (Sign(r"_pe_lora\..+"),),
    ),
    Foreign(
        "an Anima adapter of Wenaka's layout",
        _NODES.format("comfyui-anima-ipadapter"),
        (
            Sign(
                r"ip_cross_attns\.\d+\..+|ip_scales\.\d+|intermediate_encoder\..+|feature_calibrator\..+|"
                r"resampler\.(?:latents|(?:proj_in|proj_out|norm_out|time_mlp|time_proj|layers)\..+)"
            ),
        ),
    ),
    Foreign(
        "an Anima adapter of LuciferTC's layout with parts that no published file has",
        _NODES.format("ComfyUI-Anima_IP-Adapter"),
        (Sign(r"shared_ip_[kvq]_proj\..+|siglip_(?:compressor|norm)\..+|ip_self_attn\..+|null_tokens"),),
    ),
    Foreign(
        "a StyleShot adapter",
        _NODES.format("ComfyUI-StyleShot"),
        (Sign(r"style_image_proj_modules\.\d\..+"),),
    ),
    Foreign(
        "the encoder of StyleShot",
        _NODES.format("ComfyUI-StyleShot"),
        (Sign(r"(?:.+\.)?style_embeddings\.\d"), Sign(r"(?:.+\.)?cnn\.\d\..+")),
    ),
    Foreign(
        "CSD, which describes styles",
        _OWN_CODE.format("aihao2000/IP-Adapter-Art"),
        (Sign(r"(?:.+\.)?last_layer_style", (None, None)), Sign(r"(?:.+\.)?backbone\..+")),
    ),
    Foreign(
        "the projection of InfiniteYou for Flux",
        _OWN_CODE.format("bytedance/InfiniteYou"),
        (
            Sign(_PROJECTION + r"latents", (1, 8, 1280)),
            Sign(_PROJECTION + r"proj_in\.weight", (1280, 512)),
            Sign(_PROJECTION + r"proj_out\.weight", (4096, 1280)),
        ),
    ),
    Foreign("a CSGO adapter", _OWN_CODE.format("instantX-research/CSGO"), (Sign(_LAYER + r"to_k_ip_content\.weight"),)),
    Foreign(
        "a HunyuanDiT adapter",
        _OWN_CODE.format("Tencent/HunyuanDiT"),
        (
            Sign(
                r"blocks\.\d+\.attn2\.(?:kv_proj_ip_adapter|k_norm_ip_adapter)\..+|ip_adapter_(?:img_norm_cond|clip_len_trans_block).*"
            ),
        ),
    ),
    Foreign(
        "Flux Redux",
        "ComfyUI's own Load Style Model and Apply Style Model, from models/style_models",
        (Sign(r"redux_(?:up|down)\.weight"),),
    ),
    Foreign(
        "the style projector of USO",
        "ComfyUI's own Load Model Patch and Apply USO Style Reference, from models/model_patches",
        (Sign(r"(?:feature_embedder\.)?mid_layer_norm\.weight", (1152,)),),
    ),
    Foreign(
        "a SigLIP2 for pictures of any shape (NaFlex)",
        "transformers itself, or take a SigLIP2 for squares such as siglip2-base-patch16-512",
        (Sign(r"(?:.+\.)?vision_model\.embeddings\.patch_embedding\.weight", (None, None)),),
    ),
    Foreign(
        "PhotoMaker",
        "ComfyUI's own Load PhotoMaker Model, from models/photomaker",
        (Sign(r"id_encoder\.visual_projection_2\.weight|lora_weights\..+"), Sign(r"id_encoder\..+")),
    ),
)
"""The first row all of whose signs a file has is the answer."""


def find_foreign(named: Mapping[str, Entry]) -> Found | None:
    """What a file with these tensors is, if it is of a kind that is known and not run here."""
    for kind in FOREIGN:
        found = [sign.find(named) for sign in kind.signs]
        if all(found):
            return Found(kind, str(found[0]))
    return None


def check_runs_here(named: Mapping[str, Entry], file: str = "it") -> None:
    """Raises UnsupportedCheckpoint, naming the file, where its tensors are of a kind that is known and not run here."""
    if found := find_foreign(named):
        raise UnsupportedCheckpoint(
            f"Choose another file, or use this one with {found.kind.use}; {file} is {found.kind.what} ({found.name})."
        )
