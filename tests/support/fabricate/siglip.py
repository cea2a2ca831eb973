"""A small file of SigLIP in transformers' layout, as wide as the published one; support/tinysiglip builds it."""

import json
from pathlib import Path

from fabricate.checkpoints import save
from fabricate.unet import Shapes, linear, norm
from fabricate.weights import random_weights

WIDTH, INNER, PATCH, IMAGE, LAYERS = 1152, 288, 14, 56, 2
MODEL = "vision_model."


def tiny_siglip(path: Path, seed: int = 0) -> Path:
    """The tower with the configuration that tells OpenCLIP its size."""
    vision = {"timm_model_name": "tiny_siglip_of_tests", "timm_pool": "map", "timm_proj": "none", "image_size": IMAGE}
    save(path, {name: value.half() for name, value in random_weights(siglip_shapes(), seed, MODEL).items()})
    path.with_suffix(".json").write_text(json.dumps({"embed_dim": WIDTH, "vision_cfg": vision}))
    return path


def siglip_shapes() -> Shapes:
    """Every key of the tower, with the head that looks at all places."""
    shapes: Shapes = {
        "embeddings.patch_embedding.weight": (WIDTH, 3, PATCH, PATCH),
        "embeddings.patch_embedding.bias": (WIDTH,),
        "embeddings.position_embedding.weight": ((IMAGE // PATCH) ** 2, WIDTH),
        "head.probe": (1, 1, WIDTH),
        "head.attention.in_proj_weight": (3 * WIDTH, WIDTH),
        "head.attention.in_proj_bias": (3 * WIDTH,),
    }
    layers = [f"encoder.layers.{layer}." for layer in range(LAYERS)]
    for layer in layers:
        for part in ("q", "k", "v", "out"):
            shapes |= _square(f"{layer}self_attn.{part}_proj")
        shapes |= norm(f"{layer}layer_norm1", WIDTH) | norm(f"{layer}layer_norm2", WIDTH)
    for name in (*layers, "head."):
        shapes |= linear(f"{name}mlp.fc1", WIDTH, INNER) | linear(f"{name}mlp.fc2", INNER, WIDTH)
    return shapes | _square("head.attention.out_proj") | norm("post_layernorm", WIDTH) | norm("head.layernorm", WIDTH)


def _square(name: str) -> Shapes:
    return linear(name, WIDTH, WIDTH)
