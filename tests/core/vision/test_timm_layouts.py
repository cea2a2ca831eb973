"""SigLIP and PE-Core in the naming of those who published them say what their authors' code says."""

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
from timm.models.eva import _convert_pe
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear
from transformers import SiglipConfig, SiglipModel, SiglipVisionConfig, SiglipVisionModel

from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import Entry
from comfyui_ip_adapter.ip_adapter_core.vision.encoder import VisionEncoder, load
from comfyui_ip_adapter.ip_adapter_core.vision.preprocess import fit, normalise
from comfyui_ip_adapter.ip_adapter_core.vision.timm_layouts import pe_core_parts, siglip_parts
from comfyui_ip_adapter.ip_adapter_core.vision.towers import identify
from fabricate.towers import tiny_tower

SIGLIP = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
PICTURES = {"image_size": 64, "patch_size": 16}
PE_CORE = "vit_pe_core_tiny_patch16_384"  # the smallest published one: 6 million parameters


@timm.models.register_model
def small_siglip_of_tests(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """SigLIP's construction at a size of no published model."""
    small = {"img_size": 64, "embed_dim": 64, "depth": 3, "num_heads": 4, "mlp_ratio": 1.5, "class_token": False}
    head = {name: options[name] for name in ("num_classes", "global_pool")}
    return VisionTransformer(**small, act_layer="gelu_tanh", **head)


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


def save(path: Path, weights: dict[str, Tensor], model: str, size: int, proj: str | None, width: int) -> VisionEncoder:
    """A file and OpenCLIP's config beside it, loaded."""
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    vision = {"timm_model_name": model, "timm_pool": "map", "timm_proj": proj, "image_size": size}
    path.with_suffix(".json").write_text(json.dumps({"embed_dim": width, "vision_cfg": vision}))
    return load(path)


@pytest.mark.parametrize("prefix", ["", "image_encoder."])
def test_siglip_says_what_transformers_says(tmp_path: Path, prefix: str) -> None:
    reference = siglip()
    weights = {prefix + name: value for name, value in under_vision_model(reference).items()}
    encoder = save(tmp_path / "siglip.safetensors", weights, "small_siglip_of_tests", 64, "none", 64)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = reference(pixels, output_hidden_states=True)
    found = encoder(pixels)
    torch.testing.assert_close(found.embeds, wanted.pooler_output, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.penultimate, wanted.hidden_states[-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(found.last, wanted.hidden_states[-1], atol=1e-5, rtol=0)
    assert encoder.tower.tokens == 16


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
        (BASE | {"image_size": 512, "patch_size": 16}, "ViT-B-16-SigLIP-512", 512, 1024),
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
    assert identify(named).name == "ViT-B-16-SigLIP-512"


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
    assert tower.pooled_width == 1024


TELLING = "vision_model.embeddings.patch_embedding.bias"  # SigLIP from CLIP
NEEDED = {key for part in siglip_parts("vision_model.", 1).values() for key in part.keys} - {TELLING}


@pytest.mark.parametrize("key", sorted(NEEDED))
def test_a_siglip_without_a_tensor_names_it(key: str) -> None:
    named = header_of_siglip(**SIGLIP, **PICTURES)
    del named[key]
    with pytest.raises(UnsupportedCheckpoint, match=rf"^Download This file again; it lacks {key}"):
        identify(named)


def test_squashed_pictures_are_those_of_siglips_reference() -> None:
    """SiglipImageProcessor: bicubic to the square, /255, mean and deviation 0.5."""
    pictures = (torch.rand(1, 90, 130, 3, generator=torch.Generator().manual_seed(2)) * 255).round() / 255
    found = normalise(fit(pictures, 64, "squash", (0.5,) * 3), (0.5,) * 3, (0.5,) * 3)
    picture = Image.fromarray((pictures[0] * 255).round().to(torch.uint8).numpy())
    resized = np.asarray(picture.resize((64, 64), resample=Image.Resampling.BICUBIC)).astype(np.float32)
    wanted = torch.from_numpy((resized / 255 - 0.5) / 0.5).permute(2, 0, 1)
    torch.testing.assert_close(found[0], wanted, atol=1e-6, rtol=0)
