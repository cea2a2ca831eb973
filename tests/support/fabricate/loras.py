"""Small LoRA files for the miniature family, that act on its UNet and on its text encoder."""

from pathlib import Path

import torch

from fabricate.checkpoints import TINY, TINY_TEXT, save
from fabricate.unet import Shapes, unet_shapes

RANK = 4
STRENGTH = 0.4  # of what it adds, as a share of the weights it adds to
ATTENTION = ("to_q.weight", "to_k.weight", "to_v.weight", "q_proj.weight", "v_proj.weight")


def tiny_lora(path: Path, seed: int = 0) -> Path:
    """A LoRA on every attention of the miniature UNet and of its text encoder."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}
    for name, (outer, inner) in {**_named("lora_unet_", unet_shapes(TINY)), **_named("lora_te_", TINY_TEXT)}.items():
        weights[f"{name}.lora_up.weight"] = torch.randn(outer, RANK, generator=generator) * STRENGTH
        weights[f"{name}.lora_down.weight"] = torch.randn(RANK, inner, generator=generator) * inner**-0.5
        weights[f"{name}.alpha"] = torch.tensor(float(RANK))
    return save(path, weights)


def _named(prefix: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The attentions' matrices under the names of kohya's files."""
    picked = {key: shape for key, shape in shapes.items() if key.endswith(ATTENTION)}
    return {prefix + key.removesuffix(".weight").replace(".", "_"): shape for key, shape in picked.items()}
