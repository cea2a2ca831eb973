"""Miniatures under the names of published files, so that the graphs in workflows/ run as they are."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fabricate.adapters import TINY_CONTEXT, tiny_adapter
from fabricate.checkpoints import tiny_checkpoint, tiny_controlnet
from fabricate.towers import TINY, tiny_tower

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
CONTROLNET = "control_v11p_sd15_canny_fp16.safetensors"
ENCODER = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"
BASE = "ip-adapter_sd15.safetensors"
PLUS = "ip-adapter-plus_sd15.safetensors"


def adapter(path: Path, **options: Any) -> Path:
    """An adapter for the miniature family."""
    return tiny_adapter(path, context=TINY_CONTEXT, **options)


def encoder(path: Path) -> Path:
    """The encoder that both adapters read, with the config that tells OpenCLIP its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tiny_tower(path)
    return path


PUBLISHED: dict[str, Callable[[Path], Path]] = {
    f"checkpoints/{CHECKPOINT}": tiny_checkpoint,
    f"controlnet/{CONTROLNET}": tiny_controlnet,
    f"clip_vision/{ENCODER}": encoder,
    f"ipadapter/{BASE}": partial(adapter, embed=TINY.embed_dim),
    f"ipadapter/{PLUS}": partial(adapter, kind="plus", embed=TINY.width, tokens=16, seed=1),
}
