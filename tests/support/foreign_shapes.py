"""Published files of kinds that are told and not run: their names and shapes, as their authors' code makes them."""

from pathlib import Path

from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import Entry
from comfyui_ip_adapter.ip_adapter_core.layers.families import FAMILIES
from fabricate.adapters import layer_shapes, projection_shapes
from fabricate.towers import VIT_H_14, VIT_L_14, hf_shapes, openclip_shapes
from fabricate.unet import linear, norm
from published_shapes import safetensors_header, tensor_bytes

PULID_V11 = {"embed": 768, "tokens": 32, "width": 1024, "depth": 10}

Shapes = dict[str, tuple[int, ...]]


def _under(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}.{key}": shape for key, shape in shapes.items()}


def _perceiver(name: str, width: int, read: int, inner: int) -> Shapes:
    """Attention of latents to what they read, and its two norms."""
    shapes = norm(f"{name}.norm1", read) | norm(f"{name}.norm2", width)
    return shapes | {
        f"{name}.to_q.weight": (inner, width),
        f"{name}.to_kv.weight": (2 * inner, read),
        f"{name}.to_out.weight": (width, inner),
    }


def _pulid_flux() -> Shapes:
    shapes = _under("pulid_encoder", projection_shapes("PuLID v1.1", 2048, **PULID_V11))
    for block in range(20):
        shapes |= _perceiver(f"pulid_ca.{block}", 3072, 2048, 2048)
    return shapes


def _instruct_sd3() -> Shapes:
    """The projection whole; the joint attention has more maps than the others' cross-attention."""
    width, tokens, model = 1280, 4096, 1536
    shapes = projection_shapes("Instruct", tokens, embed=1280, tokens=16, width=width, text=768)
    renamed = {key.replace("_out.", "_out_big."): shape for key, shape in shapes.items() if key.count(".") == 1}
    projection = {key: shape for key, shape in shapes.items() if not key.startswith(("proj_out", "norm_out"))} | renamed
    maps = ("to_k_ip", "to_v_ip", "add_k_proj_ip", "add_v_proj_ip", "proj_ip")
    layers: Shapes = {f"{number}.{name}.weight": (model, model) for number in range(0, 24, 2) for name in maps}
    return _under("image_proj", projection) | _under("ip_adapter", layers)


def _instant_character() -> Shapes:
    """Its layers whole, and the tensors of its projection that tell its widths."""
    shapes: Shapes = {
        "image_proj.resampler.latents": (1, 1024, 1280),
        "image_proj.resampler.proj_in.weight": (1280, 2688),
    }
    shapes |= _under("image_proj", linear("resampler.time_embedding.linear_1", 320, 1280))
    shapes |= norm("image_proj.cross_layer_blocks.0.norm1", 2688)
    for block in range(57):
        name = f"ip_adapter.{block}"
        shapes |= linear(f"{name}.to_k_ip", 4096, 3072) | linear(f"{name}.to_v_ip", 4096, 3072)
        shapes |= {f"{name}.norm_ip_q.weight": (128,), f"{name}.norm_ip_k.weight": (128,)}
    return shapes


def _anima_lucifer(shared: bool) -> Shapes:
    shapes: Shapes = {"siglip_compressor.queries": (64, 768), "null_tokens": (1, 64, 768)}
    shapes |= norm("siglip_norm", 768) | norm("ip_self_attn.norm", 768)
    if shared:
        shapes |= {f"shared_ip_{kind}_proj.expand.weight": (2048, 768) for kind in "kv"}
    for block in range(28):
        shapes |= linear(f"blocks.{block}.adaln_ip.1", 2048, 2048)
        if not shared:
            shapes |= linear(f"blocks.{block}.ip_k_proj", 768, 2048) | linear(f"blocks.{block}.ip_v_proj", 768, 2048)
        attention = f"lora.base_model.model.blocks.{block}.cross_attn.q_proj"
        shapes |= {f"{attention}.lora_A.weight": (32, 2048), f"{attention}.lora_B.weight": (2048, 32)}
    return shapes


def _anima_wenaka() -> Shapes:
    shapes: Shapes = {"resampler.latents": (1, 32, 1024), "intermediate_encoder.deep_proj.weight": (768, 768)}
    shapes |= {"resampler.proj_in.weight": (1024, 1536), "resampler.proj_out.weight": (2048, 1024)}
    shapes |= linear("resampler.time_proj", 1, 320)
    for block in range(28):
        name = f"ip_cross_attns.{block}"
        shapes |= {f"{name}.to_k_ip.weight": (2048, 2048), f"{name}.to_v_ip.weight": (2048, 2048)}
        shapes |= {f"{name}.norm_ip_q.scale": (128,), f"{name}.norm_ip_k.scale": (128,), f"ip_scales.{block}": (1,)}
    return shapes


def _styleshot() -> Shapes:
    known = FAMILIES["SD1.5"]
    shapes: Shapes = {}
    for scale in range(3):
        shapes |= _under(f"style_image_proj_modules.{scale}", projection_shapes("base", 768, embed=1024, tokens=2))
    return shapes | _under("adapter_modules", layer_shapes(known.widths, known.context))


def _styleshot_encoder() -> Shapes:
    """CLIP's tower in transformers' names, three stacks of convolutions, and a vector for each."""
    shapes: Shapes = {f"image_encoder.{name}": shape for name, shape in hf_shapes(VIT_H_14).items()}
    for stack in range(3):
        shapes |= {f"cnn.{stack}.conv_in.weight": (320, 192, 3, 3), f"style_embeddings.{stack}": (1280,)}
        shapes |= linear(f"cnn.{stack}.adapter", 1280, 1280)
    return shapes | {"position_embedding.weight": (59, 1280)}


def _csd() -> Shapes:
    """CLIP ViT-L/14 as OpenAI names it, and two projections in the place of its one."""
    tower = openclip_shapes(VIT_L_14)
    shapes = {
        name.replace("visual.", "backbone."): shape for name, shape in tower.items() if name.startswith("visual.")
    }
    del shapes["backbone.proj"]
    return shapes | {"last_layer_style": (1024, 768), "last_layer_content": (1024, 768)}


def _csgo() -> Shapes:
    known = FAMILIES["SDXL"]
    layers = layer_shapes(known.widths, known.context)
    layers |= {f"{n}.to_{kind}_ip_content.weight": (1280, 2048) for n in range(9, 49, 2) for kind in "kv"}
    shapes = _under("image_proj", projection_shapes("plus", 2048, embed=1280, tokens=4, width=1280))
    return shapes | _under("ip_adapter", layers)


def _hunyuan() -> Shapes:
    shapes: Shapes = {"ip_adapter_img_norm_cond.weight": (1024,), "ip_adapter_img_norm_cond.bias": (1024,)}
    for block in range(40):
        name = f"blocks.{block}.attn2"
        shapes |= linear(f"{name}.kv_proj_ip_adapter", 1024, 2816) | norm(f"{name}.k_norm_ip_adapter", 88)
    shapes["ip_adapter_clip_len_trans_block.weight"] = (1024, 1024)  # of the name alone is known
    return _under("module", shapes)


def _redux() -> Shapes:
    return linear("redux_up", 1152, 3 * 4096) | linear("redux_down", 3 * 4096, 4096)


def _uso() -> Shapes:
    shapes: Shapes = {}
    for level in ("high", "mid", "low"):
        shapes |= linear(f"{level}_embedding_linear.0", 729, 64) | norm(f"{level}_layer_norm", 1152)
        shapes |= linear(f"{level}_projection", 1152, 3072)
    return _under("feature_embedder", shapes)


def _photomaker() -> Shapes:
    shapes: Shapes = {"id_encoder.vision_model.embeddings.class_embedding": (1024,)}
    shapes |= {
        "id_encoder.visual_projection.weight": (768, 1024),
        "id_encoder.visual_projection_2.weight": (1280, 1024),
    }
    return shapes | {"lora_weights.unet.conv_in.lora.down.weight": (64, 4, 3, 3)}


_WENAKA, _LUCIFER = "comfyui-anima-ipadapter", "ComfyUI-Anima_IP-Adapter"
_LUCIFER_PARTS = "an Anima adapter of LuciferTC's layout with parts that no published file has"

# By the published file: names and shapes, parameters where all of them are known, what it is called, with what it runs.
REFUSED: dict[str, tuple[Shapes, int | None, str, str]] = {
    "instantcharacter_ip-adapter": (
        _instant_character(),
        None,
        "InstantCharacter for Flux",
        "Tencent/InstantCharacter",
    ),
    "ip-adapter-instruct-sd3": (
        _instruct_sd3(),
        None,
        "an IP-Adapter-Instruct for SD3 Medium",
        "unity-research/IP-Adapter-Instruct",
    ),
    "pulid_flux_v0.9.1": (_pulid_flux(), None, "PuLID for Flux", "models/pulid"),
    "anima_ip_adapter (with a LoRA)": (
        {
            "ip_centroid": (1024,),
            "to_k_ip.0.weight": (2048, 1024),
            "ip_gate.0": (),
            "_pe_lora.resblocks_0_attn.lora_down": (16, 1024),
        },
        None,
        "an Anima adapter that changes PE-Core by a LoRA of its own",
        "sorryhyun/anima_lora",
    ),
    "ip_adapter (Anima, LuciferTC)": (_anima_lucifer(False), None, _LUCIFER_PARTS, _LUCIFER),
    "ip_adapter (Anima, shared)": (_anima_lucifer(True), None, _LUCIFER_PARTS, _LUCIFER),
    "ip_adapter (Anima, Wenaka)": (_anima_wenaka(), None, "an Anima adapter of Wenaka's layout", _WENAKA),
    "ip (StyleShot)": (_styleshot(), None, "a StyleShot adapter", "ComfyUI-StyleShot"),
    "style_aware_encoder": (_styleshot_encoder(), None, "the encoder of StyleShot", "ComfyUI-StyleShot"),
    "csd_clip": (_csd(), None, "CSD, which describes styles", "IP-Adapter-Art"),
    "image_proj_model (InfiniteYou)": (
        _under("image_proj", projection_shapes("portrait unnorm", 4096, tokens=8, width=1280)),
        None,
        "the projection of InfiniteYou for Flux",
        "bytedance/InfiniteYou",
    ),
    "csgo": (_csgo(), None, "a CSGO adapter", "instantX-research/CSGO"),
    "ipa (HunyuanDiT)": (_hunyuan(), None, "a HunyuanDiT adapter", "Tencent/HunyuanDiT"),
    "flux1-redux-dev": (_redux(), 64_503_808, "Flux Redux", "Load Style Model"),
    "uso-flux1-projector-v1": (_uso(), None, "the style projector of USO", "Load Model Patch"),
    "siglip2-base-patch16-naflex": (
        {
            "vision_model.embeddings.patch_embedding.weight": (768, 768),
            "vision_model.embeddings.patch_embedding.bias": (768,),
            "vision_model.embeddings.position_embedding.weight": (256, 768),
            "vision_model.head.probe": (1, 1, 768),
        },
        None,
        "a SigLIP2 for pictures of any shape (NaFlex)",
        "transformers itself",
    ),
    "photomaker-v1": (_photomaker(), None, "PhotoMaker", "Load PhotoMaker Model"),
}


# By a file of REFUSED: names that it alone has, of which one is enough.
PIECES = (
    ("ip_adapter (Anima, Wenaka)", "ip_scales.3"),
    ("ip_adapter (Anima, Wenaka)", "ip_cross_attns.0.norm_ip_q.scale"),
    ("ip_adapter (Anima, Wenaka)", "intermediate_encoder.deep_proj.weight"),
    ("ip_adapter (Anima, Wenaka)", "resampler.latents"),
    ("ip_adapter (Anima, Wenaka)", "resampler.proj_in.weight"),
    ("ip_adapter (Anima, Wenaka)", "resampler.time_proj.bias"),
    ("ip_adapter (Anima, LuciferTC)", "siglip_compressor.queries"),
    ("ip_adapter (Anima, LuciferTC)", "siglip_norm.weight"),
    ("ip_adapter (Anima, LuciferTC)", "ip_self_attn.norm.bias"),
    ("ip_adapter (Anima, LuciferTC)", "null_tokens"),
    ("ip (StyleShot)", "style_image_proj_modules.2.norm.bias"),
    ("ipa (HunyuanDiT)", "module.ip_adapter_img_norm_cond.weight"),
    ("ipa (HunyuanDiT)", "module.ip_adapter_clip_len_trans_block.weight"),
    ("flux1-redux-dev", "redux_down.weight"),
)


def header(file: str) -> dict[str, Entry]:
    """Names, shapes and dtypes of a file of REFUSED."""
    return {name: Entry(shape, "F16") for name, shape in REFUSED[file][0].items()}


def write_header(folder: Path, file: str) -> Path:
    """A file of REFUSED, as `write` makes it."""
    return write(folder, file, header(file))


def write(folder: Path, file: str, named: dict[str, Entry]) -> Path:
    """A file that has this header and its size, and takes no room on disk."""
    path = folder / f"{file}.safetensors"
    written = safetensors_header(named)
    with path.open("wb") as stream:
        stream.write(written)
        stream.truncate(len(written) + tensor_bytes(named))
    return path
