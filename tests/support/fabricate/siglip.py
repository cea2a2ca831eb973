"""A small file of SigLIP in transformers' layout, as wide as the published one; support/tinysiglip builds it."""

import json
from pathlib import Path

from fabricate.checkpoints import save
from fabricate.unet import Shapes, linear, norm
from fabricate.weights import random_weights

WIDTH, INNER, PATCH, IMAGE = 1152, 288, 14, 56
MODEL = "vision_model."


def tiny_siglip(path: Path, seed: int = 0) -> Path:
    """The tower with the configuration that tells OpenCLIP its size."""
    vision = {"timm_model_name": "tiny_siglip_of_tests", "timm_pool": "map", "timm_proj": "none", "image_size": IMAGE}
    save(path, {name: value.half() for name, value in random_weights(siglip_shapes(), seed, MODEL).items()})
    path.with_suffix(".json").write_text(json.dumps({"embed_dim": WIDTH, "vision_cfg": vision}))
    return path


def siglip_shapes() -> Shapes:
    """Every key of the tower, of one layer, with the head that looks at all places."""
    shapes: Shapes = {
        "embeddings.patch_embedding.weight": (WIDTH, 3, PATCH, PATCH),
        "embeddings.patch_embedding.bias": (WIDTH,),
        "embeddings.position_embedding.weight": ((IMAGE // PATCH) ** 2, WIDTH),
        "head.probe": (1, 1, WIDTH),
        "head.attention.in_proj_weight": (3 * WIDTH, WIDTH),
        "head.attention.in_proj_bias": (3 * WIDTH,),
    }
    layer = "encoder.layers.0."
    for name in (*(f"{layer}self_attn.{part}_proj" for part in ("q", "k", "v", "out")), "head.attention.out_proj"):
        shapes |= linear(name, WIDTH, WIDTH)
    for name in (layer, "head."):
        shapes |= linear(f"{name}mlp.fc1", WIDTH, INNER) | linear(f"{name}mlp.fc2", INNER, WIDTH)
    for name in (f"{layer}layer_norm1", f"{layer}layer_norm2", "post_layernorm", "head.layernorm"):
        shapes |= norm(name, WIDTH)
    return shapes
