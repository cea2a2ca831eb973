"""Test-only custom node: tells timm a SigLIP as wide as the published one and of two layers.

OpenCLIP builds such towers of timm's models by their names, which a file's configuration says.
"""

from typing import Any

import timm
from timm.models.vision_transformer import VisionTransformer

NODE_CLASS_MAPPINGS: dict[str, Any] = {}


@timm.models.register_model
def tiny_siglip_of_tests(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """SigLIP's construction; the sizes are those of `fabricate.siglip`."""
    sizes = {"img_size": 56, "patch_size": 14, "embed_dim": 1152, "depth": 2, "num_heads": 16, "mlp_ratio": 0.25}
    head = {name: options[name] for name in ("num_classes", "global_pool")}
    return VisionTransformer(**sizes, class_token=False, act_layer="gelu_tanh", **head)
