"""SigLIP, PE-Core and EVA02 in the naming of those who published them say what their authors' code says."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.models.eva import Eva, _convert_pe
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear
from transformers import SiglipConfig, SiglipModel, SiglipVisionConfig, SiglipVisionModel

from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import Entry
from comfyui_ip_adapter.ip_adapter_core.vision.encoder import VisionEncoder, encode_levels, load
from comfyui_ip_adapter.ip_adapter_core.vision.preprocess import fit, normalise
from comfyui_ip_adapter.ip_adapter_core.vision.timm_layouts import eva_constants, eva_parts, pe_core_parts, siglip_parts
from comfyui_ip_adapter.ip_adapter_core.vision.towers import identify
from fabricate.towers import VIT_L_14_336, hf_shapes, tiny_tower

SIGLIP = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
PICTURES = {"image_size": 64, "patch_size": 16}
EVA_LAYERS, EVA_HEADS = 12, 2
PE_CORE = "vit_pe_core_tiny_patch16_384"  # the smallest published one: 6 million parameters


@timm.models.register_model
def small_siglip_of_tests(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """SigLIP's construction at a size of no published model."""
    small = {"img_size": 64, "embed_dim": 64, "depth": 3, "num_heads": 4, "mlp_ratio": 1.5, "class_token": False}
    head = {name: options[name] for name in ("num_classes", "global_pool")}
    return VisionTransformer(**small, act_layer="gelu_tanh", **head)


@timm.models.register_model
def eva02_small_of_tests(pretrained: bool = False, **options: Any) -> Eva:
    """The construction of EVA02's CLIP at a size of no published model."""
    small = {"img_size": 56, "patch_size": 14, "embed_dim": 64, "depth": EVA_LAYERS, "num_heads": EVA_HEADS}
    inside = {"qkv_fused": False, "swiglu_mlp": True, "scale_mlp": True, "scale_attn_inner": True}
    rotary = {"use_rot_pos_emb": True, "ref_feat_shape": (16, 16), "mlp_ratio": 4 * 2 / 3}
    head = {name: options[name] for name in ("num_classes", "global_pool")}
    return Eva(**small, **inside, **rotary, **head)


def under_vision_model(model: SiglipVisionModel) -> dict[str, Tensor]:
    """Its tensors by the names in files, which transformers 5 has without their beginning."""
    named = model.state_dict().items()
    return {f"vision_model.{name.removeprefix('vision_model.')}": value for name, value in named}


def siglip(seed: int = 0) -> SiglipVisionModel:
    torch.manual_seed(seed)
    made = SiglipVisionModel(SiglipVisionConfig(**SIGLIP, **PICTURES)).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # norms and biases too
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


def save(
    path: Path, weights: dict[str, Tensor], model: str, size: int, proj: str | None, width: int, pool: str = "map"
) -> VisionEncoder:
    """A file and OpenCLIP's config beside it, loaded."""
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    vision = {"timm_model_name": model, "timm_pool": pool, "timm_proj": proj, "image_size": size}
    path.with_suffix(".json").write_text(json.dumps({"embed_dim": width, "vision_cfg": vision}))
    return load(path)


@pytest.mark.parametrize("prefix", ["vision_model.", "image_encoder.vision_model.", "", "image_encoder."])
def test_siglip_says_what_transformers_says(tmp_path: Path, prefix: str) -> None:
    """In files of transformers 5 its names begin with nothing."""
    reference = siglip()
    weights = {prefix + name.removeprefix("vision_model."): value for name, value in reference.state_dict().items()}
    encoder = save(tmp_path / "siglip.safetensors", weights, "small_siglip_of_tests", 64, "none", 64)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = reference(pixels, output_hidden_states=True)
    found = encoder(pixels)
    torch.testing.assert_close(found.embeds, wanted.pooler_output, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.penultimate, wanted.hidden_states[-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.last, wanted.hidden_states[-1], atol=1e-5, rtol=0)
    assert encoder.tower.tokens == 16


@pytest.mark.parametrize("prefix", ["visual.trunk.", "trunk.", "timm_model.", ""])
def test_a_tower_in_timms_naming_says_the_same_under_any_beginning(tmp_path: Path, prefix: str) -> None:
    torch.manual_seed(0)
    reference = timm.create_model("small_siglip_of_tests", num_classes=0, global_pool="map").eval()
    weights = {prefix + name: value for name, value in reference.state_dict().items()}
    encoder = save(tmp_path / "tower.safetensors", weights, "small_siglip_of_tests", 64, "none", 64)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder(pixels).embeds, reference(pixels), atol=1e-5, rtol=0)


def pe_core_of_meta(trunk: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of timm's tower as Meta names them: written from Meta's names, without our table."""
    named: dict[str, Tensor] = {}
    mlp = {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
    layer = {"norm1": "ln_1", "norm2": "ln_2", "attn.proj": "attn.out_proj"} | mlp
    pool = {"proj": "attn.out_proj", "norm": "layernorm"} | mlp
    for kind in ("weight", "bias"):
        for block in range(12):
            ours, theirs = f"blocks.{block}", f"transformer.resblocks.{block}"
            named[f"{theirs}.attn.in_proj_{kind}"] = trunk[f"{ours}.attn.qkv.{kind}"]
            named |= {f"{theirs}.{name}.{kind}": trunk[f"{ours}.{key}.{kind}"] for key, name in layer.items()}
        named |= {f"attn_pool.{name}.{kind}": trunk[f"attn_pool.{key}.{kind}"] for key, name in pool.items()}
        joint = [trunk[f"attn_pool.{part}.{kind}"] for part in ("q", "kv")]
        named[f"attn_pool.attn.in_proj_{kind}"] = torch.cat(joint)
        named |= {f"ln_pre.{kind}": trunk[f"norm_pre.{kind}"], f"ln_post.{kind}": trunk[f"norm.{kind}"]}
    named |= {"conv1.weight": trunk["patch_embed.proj.weight"], "attn_pool.probe": trunk["attn_pool.latent"]}
    named |= {"class_embedding": trunk["cls_token"][0, 0], "positional_embedding": trunk["pos_embed"][0]}
    return {f"visual.{name}": value.clone() for name, value in (named | {"proj": trunk["head.weight"].T}).items()}


def test_pe_core_in_metas_naming_says_what_timm_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference = timm.create_model(PE_CORE, num_classes=512, global_pool="map").eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        reference.head.bias.zero_()
    weights = pe_core_of_meta(reference.state_dict())
    reference.load_state_dict(_convert_pe(weights, reference))  # timm's own reading of these names
    encoder = save(tmp_path / "pe.safetensors", weights, PE_CORE, 384, None, 512)
    pixels = torch.randn(1, 3, 384, 384, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = reference(pixels)
    torch.testing.assert_close(encoder(pixels).embeds, wanted, atol=1e-5, rtol=0)
    assert encoder.tower.tokens == 577


def states_of_meta(named: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The last states after the final norm, written from Meta's names: (images, 1 + patches, width).

    Source: facebookresearch/perception_models, core/vision_encoder/pe.py and rope.py.
    """
    part, heads = {name.removeprefix("visual."): value for name, value in named.items()}, 3

    def norm(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, x.shape[-1:], part[f"{name}.weight"], part[f"{name}.bias"])

    def lin(x: Tensor, name: str) -> Tensor:
        return linear(x, part[f"{name}.weight"], part[f"{name}.bias"])

    x = conv2d(pixels, part["conv1.weight"], stride=16)
    rows, columns = x.shape[-2:]
    x = torch.cat([part["class_embedding"].expand(len(x), 1, -1), x.flatten(2).mT], 1) + part["positional_embedding"]
    quarter = x.shape[-1] // heads // 4
    speeds = 10000.0 ** (-torch.arange(quarter) / quarter)
    y, across = torch.meshgrid(torch.arange(rows) + 1.0, torch.arange(columns) + 1.0, indexing="ij")
    angles = torch.cat([across.reshape(-1, 1) * speeds, y.reshape(-1, 1) * speeds], 1)
    angles = torch.cat([torch.zeros(1, 2 * quarter), angles])
    turns = torch.polar(torch.ones_like(angles), angles)

    def turned(q: Tensor) -> Tensor:
        return torch.view_as_real(torch.view_as_complex(q.unflatten(-1, (-1, 2)).contiguous()) * turns).flatten(-2)

    x = norm(x, "ln_pre")
    for number in range(12):
        block = f"transformer.resblocks.{number}"
        joint = linear(
            norm(x, f"{block}.ln_1"), part[f"{block}.attn.in_proj_weight"], part[f"{block}.attn.in_proj_bias"]
        )
        q, k, v = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in joint.chunk(3, -1))
        read = (turned(q) @ turned(k).mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        x = x + lin(read.transpose(1, 2).flatten(2), f"{block}.attn.out_proj")
        x = x + lin(gelu(lin(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc")), f"{block}.mlp.c_proj")
    return norm(x, "ln_post")


def test_the_normed_states_of_pe_core_are_those_of_metas_code(tmp_path: Path) -> None:
    torch.manual_seed(2)
    trunk = timm.create_model(PE_CORE, num_classes=512, global_pool="map").eval()
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    weights = pe_core_of_meta(trunk.state_dict())
    encoder = save(tmp_path / "pe.safetensors", weights, PE_CORE, 384, None, 512)
    pixels = torch.randn(1, 3, 384, 384)
    with torch.no_grad():
        found = encoder.normed(encoder(pixels).last)
        wanted = states_of_meta(weights, pixels)
    assert found is not None
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_only_towers_that_pool_by_attention_have_normed_states(tmp_path: Path) -> None:
    tiny_tower(tmp_path / "tower.safetensors")
    clip = load(tmp_path / "tower.safetensors")
    assert clip.normed(torch.zeros(1, 5, clip.tower.width)) is None
    assert clip.tower.pooled_width == 0


def header_of_siglip(**sizes: int) -> dict[str, Entry]:
    with torch.device("meta"):
        model = SiglipVisionModel(SiglipVisionConfig(**sizes))
    return {name: Entry(tuple(value.shape), "F16") for name, value in under_vision_model(model).items()}


SO400M = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}


@pytest.mark.parametrize(
    ("sizes", "name", "image", "tokens"),
    [
        (SO400M | {"image_size": 384, "patch_size": 14}, "ViT-SO400M-14-SigLIP-384", 378, 729),
        (BASE | {"image_size": 512, "patch_size": 16}, "ViT-B-16-SigLIP2-512", 512, 1024),
        (SO400M | {"image_size": 512, "patch_size": 16}, "ViT-SO400M-16-SigLIP2-512", 512, 1024),
    ],
)
def test_published_siglips_are_told_from_their_headers(
    sizes: dict[str, int], name: str, image: int, tokens: int
) -> None:
    tower = identify(header_of_siglip(**sizes))
    assert (tower.name, tower.tokens, tower.mean, tower.std) == (name, tokens, (0.5,) * 3, (0.5,) * 3)
    assert tower.image_size in (image, sizes["image_size"])


def test_a_whole_siglip_is_told_by_its_picture_half() -> None:
    with torch.device("meta"):
        config = SiglipConfig(vision_config=BASE | {"image_size": 512, "patch_size": 16})
        named = {name: Entry(tuple(value.shape), "F16") for name, value in SiglipModel(config).state_dict().items()}
    assert identify(named).name == "ViT-B-16-SigLIP2-512"  # their picture halves have the same tensors


def test_a_published_pe_core_is_told_from_its_header() -> None:
    config = open_clip.get_model_config("PE-Core-L-14-336")["vision_cfg"]
    with torch.device("meta"):
        trunk = timm.create_model(config["timm_model_name"], num_classes=1024, global_pool="map")
    shapes = {f"trunk.{name}": tuple(value.shape) for name, value in trunk.state_dict().items()}
    parts = pe_core_parts("visual.", 24)
    assert parts.keys() == shapes.keys()
    named: dict[str, Entry] = {}
    for name, part in parts.items():
        shape = shapes[name][part.axes :][:: -1 if part.transposed else 1]
        if part.thirds != (0, 3):
            shape = (3 * 1024, *shape[1:])
        if not part.zeros:
            named[part.keys[0]] = Entry(shape, "F32")
    tower = identify(named)
    assert (tower.name, tower.tokens, tower.mean) == ("PE-Core-L-14-336", 577, (0.5,) * 3)
    assert tower.interpolation == "bilinear"
    assert tower.pooled_width == 1024


TELLING = "vision_model.embeddings.patch_embedding.bias"  # SigLIP from CLIP
NEEDED = {key for part in siglip_parts("vision_model.", 1).values() for key in part.keys} - {TELLING}


@pytest.mark.parametrize("key", sorted(NEEDED))
def test_a_siglip_without_a_tensor_names_it(key: str) -> None:
    named = header_of_siglip(**SIGLIP, **PICTURES)
    del named[key]
    with pytest.raises(UnsupportedCheckpoint, match=rf"^Download This file again; it lacks {key}"):
        identify(named)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_squashed_pictures_are_those_of_the_references(interpolation: str) -> None:
    """SiglipImageProcessor and PE-Core's core/vision_encoder/transforms.py: to the square, mean and deviation 0.5."""
    pictures = (torch.rand(1, 90, 130, 3, generator=torch.Generator().manual_seed(2)) * 255).round() / 255
    found = normalise(fit(pictures, 64, "squash", (0.5,) * 3, interpolation), (0.5,) * 3, (0.5,) * 3)
    picture = Image.fromarray((pictures[0] * 255).round().to(torch.uint8).numpy())
    resized = np.asarray(picture.resize((64, 64), resample=Image.Resampling[interpolation.upper()])).astype(np.float32)
    wanted = torch.from_numpy((resized / 255 - 0.5) / 0.5).permute(2, 0, 1)
    torch.testing.assert_close(found[0], wanted, atol=1e-6, rtol=0)


EVA_WIDTH, EVA_INNER, EVA_EMBED, EVA_GRID = 64, 170, 32, 4


def eva_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of a small EVA02 as its authors' code makes them (eva_clip/eva_vit_model.py)."""
    width, inner = EVA_WIDTH, EVA_INNER
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, EVA_GRID**2 + 1, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "head.weight": (EVA_EMBED, width),
        "head.bias": (EVA_EMBED,),
    }
    norms, wide = ["norm"], {}
    for layer in range(EVA_LAYERS):
        block = f"blocks.{layer}"
        shapes |= {f"{block}.attn.{part}_proj.weight": (width, width) for part in "qkv"}
        shapes |= {f"{block}.attn.{part}_bias": (width,) for part in "qv"}
        shapes |= {f"{block}.attn.proj.weight": (width, width), f"{block}.attn.proj.bias": (width,)}
        shapes |= {f"{block}.mlp.w{number}.weight": (inner, width) for number in (1, 2)}
        shapes |= {f"{block}.mlp.w{number}.bias": (inner,) for number in (1, 2)}
        shapes |= {f"{block}.mlp.w3.weight": (width, inner), f"{block}.mlp.w3.bias": (width,)}
        norms += [f"{block}.{name}" for name in ("norm1", "norm2", "attn.inner_attn_ln")]
        wide[f"{block}.mlp.ffn_ln"] = inner
    for name in (*norms, *wide):
        shapes |= {f"{name}.{kind}": (wide.get(name, width),) for kind in ("weight", "bias")}
    return shapes


def eva_weights(seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in eva_shapes().items():
        values = torch.randn(shape, generator=random)
        neutral = 1.0 if len(shape) == 1 and name.endswith("weight") else 0.0
        found[name] = values * 0.2 + neutral if len(shape) == 1 else values * np.prod(shape[1:]) ** -0.5
    return found


def rotated(x: Tensor) -> Tensor:
    """Patches (patches, head) of one head, turned by their rows in the first half and by their columns in the second.

    EVA02-CLIP was trained on 16 patches along a side before it saw 24: places are stretched to 16 of them.
    """
    quarter = x.shape[1] // 4
    frequencies = 10000.0 ** (-torch.arange(quarter) / quarter)
    places = torch.arange(EVA_GRID) / EVA_GRID * 16
    turned = torch.empty_like(x)
    for patch in range(EVA_GRID**2):
        for half, place in enumerate((places[patch // EVA_GRID], places[patch % EVA_GRID])):
            for number, frequency in enumerate(frequencies):
                first = half * 2 * quarter + 2 * number
                a, b = x[patch, first], x[patch, first + 1]
                cos, sin = torch.cos(place * frequency), torch.sin(place * frequency)
                turned[patch, first], turned[patch, first + 1] = a * cos - b * sin, b * cos + a * sin
    return turned


def plain_eva(weights: dict[str, Tensor], pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The embedding of one picture (3, size, size), and the state after each block, as eva_vit_model.py has it."""

    def linear(name: str, x: Tensor, bias: str | None = None) -> Tensor:
        found = x @ weights[f"{name}.weight"].T
        bias = bias or f"{name}.bias"
        return found + weights[bias] if bias in weights else found

    def norm(name: str, x: Tensor) -> Tensor:
        return torch.nn.functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-6)

    patches = pixels.unfold(1, 14, 14).unfold(2, 14, 14).permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1)
    embedded = patches @ weights["patch_embed.proj.weight"].flatten(1).T + weights["patch_embed.proj.bias"]
    x = torch.cat([weights["cls_token"][0], embedded]) + weights["pos_embed"][0]
    head, states = EVA_WIDTH // EVA_HEADS, []
    for layer in range(EVA_LAYERS):
        name = f"blocks.{layer}"
        read = norm(f"{name}.norm1", x)
        q = linear(f"{name}.attn.q_proj", read, f"{name}.attn.q_bias")
        k, v = linear(f"{name}.attn.k_proj", read), linear(f"{name}.attn.v_proj", read, f"{name}.attn.v_bias")
        seen = []
        for one, keys, values in zip(*(part.split(head, -1) for part in (q, k, v)), strict=True):
            turned = [torch.cat([part[:1], rotated(part[1:])]) for part in (one, keys)]
            seen.append((turned[0] @ turned[1].T * head**-0.5).softmax(-1) @ values)
        x = x + linear(f"{name}.attn.proj", norm(f"{name}.attn.inner_attn_ln", torch.cat(seen, -1)))
        read = norm(f"{name}.norm2", x)
        gated = torch.nn.functional.silu(linear(f"{name}.mlp.w1", read)) * linear(f"{name}.mlp.w2", read)
        x = x + linear(f"{name}.mlp.w3", norm(f"{name}.mlp.ffn_ln", gated))
        states.append(x)
    return linear("head", norm("norm", x)[0]), states


def constants(prefix: str) -> dict[str, Tensor]:
    """The rotary angles that the authors' files carry: nothing here reads their values."""
    return dict.fromkeys(eva_constants(prefix, EVA_LAYERS), torch.zeros(EVA_GRID**2, EVA_WIDTH // EVA_HEADS))


def small_eva(path: Path, prefix: str = "visual.", **more: Tensor) -> VisionEncoder:
    weights = {prefix + name: value for name, value in eva_weights().items()} | constants(prefix) | more
    weights = {name: value.clone() for name, value in weights.items()}
    return save(path, weights, "eva02_small_of_tests", 56, None, EVA_EMBED, "token")


@pytest.mark.parametrize("prefix", ["visual.", ""])
def test_eva02_in_its_authors_naming_says_what_their_formula_says(tmp_path: Path, prefix: str) -> None:
    text = {"text.positional_embedding": torch.zeros(4, 4), "logit_scale": torch.zeros(())} if prefix else {}
    encoder = small_eva(tmp_path / "eva.safetensors", prefix, **text)
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(1))
    embeds, states = plain_eva({k: v.double() for k, v in eva_weights().items()}, pixels[0].double())
    found, levels = encoder.states(pixels, encoder.tower.levels)
    torch.testing.assert_close(found[0].double(), embeds, atol=1e-4, rtol=0)
    assert encoder.tower.levels == (1, 3, 5, 7, 9)
    for level, layer in zip(levels, encoder.tower.levels, strict=True):
        assert level is not None
        torch.testing.assert_close(level[0].double(), states[layer], atol=1e-4, rtol=0)


def test_levels_of_pictures_are_read_together(tmp_path: Path) -> None:
    encoder = small_eva(tmp_path / "eva.safetensors")
    pictures = torch.rand(3, 56, 56, 3, generator=torch.Generator().manual_seed(1))
    embeds, levels = encode_levels(encoder, pictures)
    assert levels.shape == (3, 5, 17, EVA_WIDTH)
    pixels = normalise(pictures, encoder.tower.mean, encoder.tower.std)
    wanted, states = plain_eva(eva_weights(), pixels[2])
    torch.testing.assert_close(embeds[2], wanted, atol=1e-4, rtol=0)
    torch.testing.assert_close(levels[2], torch.stack([states[layer] for layer in (1, 3, 5, 7, 9)]), atol=1e-4, rtol=0)


def eva_header() -> dict[str, Entry]:
    """The names and shapes of EVA02_CLIP_L_336_psz14_s6B.pt."""
    with torch.device("meta"):
        trunk = timm.create_model("eva02_large_patch14_clip_336", num_classes=768, global_pool="token")
    shapes = {f"trunk.{name}": tuple(value.shape) for name, value in trunk.state_dict().items()}
    parts = eva_parts("visual.", 24)
    assert parts.keys() == shapes.keys()
    named = {part.keys[0]: Entry(shapes[name], "F32") for name, part in parts.items()}
    return named | dict.fromkeys(eva_constants("visual.", 24), Entry((576, 64), "F32"))


def test_the_published_eva02_is_told_from_its_header_and_has_the_levels_that_pulid_reads() -> None:
    tower = identify(eva_header())
    assert (tower.name, tower.tokens, tower.embed_dim, tower.width) == ("EVA02-L-14-336", 577, 768, 1024)
    assert tower.levels == (3, 7, 11, 15, 19)
    assert tower.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    assert tower.std == pytest.approx((0.26862954, 0.26130258, 0.27577711))


def test_a_tower_as_wide_as_eva02_has_no_levels() -> None:
    assert identify({k: Entry(v, "F16") for k, v in hf_shapes(VIT_L_14_336).items()}).levels == ()


@pytest.mark.parametrize("key", ["blocks.3.attn.q_bias", "blocks.0.mlp.ffn_ln.bias", "head.weight", "pos_embed"])
def test_an_eva02_without_a_tensor_names_it(key: str) -> None:
    named = eva_header()
    del named[f"visual.{key}"]
    with pytest.raises(UnsupportedCheckpoint, match=rf"^Download This file again; it lacks visual\.{key}"):
        identify(named)


def test_an_eva02_with_a_tensor_too_many_is_refused() -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"holds visual\.blocks\.0\.gamma_1"):
        identify(eva_header() | {"visual.blocks.0.gamma_1": Entry((1024,), "F32")})
