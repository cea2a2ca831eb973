"""Goal 8: encoding 16 images at once, against one by one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fabricate.towers import Size, tiny_tower

from ...ip_adapter_core.vision import encoder as core
from ...ip_adapter_core.vision.preprocess import FITS
from ...nodes.host import vision
from ..cost import threads
from ..figures import Findings
from ..settings import Settings
from ..timing import interleaved, ratios

_B = Size(width=768, layers=12, inner=3072, patch=16, image=224, embed_dim=512, head_width=64)
TOWERS = {"encoding": _B, "the same with fewer tokens an image": _B._replace(patch=32)}
_IMAGES, _SIDE = 16, 256


def measure(settings: Settings) -> Findings:
    """The same pictures through the same encoder, preprocessing included."""
    found = Findings()
    images = torch.rand(_IMAGES, _SIDE, _SIDE, 3, generator=torch.Generator().manual_seed(0))
    for name, size in TOWERS.items():
        encoder = random_encoder(size)
        actions = {"together": partial(encode, encoder, [images]), "apart": partial(encode, encoder, images.split(1))}
        taken = interleaved(actions, settings.encoded)
        how = f"OpenCLIP ViT-B-{size.patch} ({size.tokens} tokens), fp32, {threads()}"
        found.add(name, ratios(taken["together"], taken["apart"]), "×", how)
        found.add(
            f"encoding one image, ViT-B-{size.patch}", [seconds / _IMAGES for seconds in taken["apart"]], "s", how
        )
    return found


def encode(encoder: vision.OpenClipVision, batches: Sequence[Tensor]) -> None:
    """Features of images, one batch after another."""
    for images in batches:
        vision.encode(encoder, vision.fit_pictures(encoder, images, FITS[0]))


def random_encoder(size: Size) -> vision.OpenClipVision:
    """An encoder of this size on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tower.safetensors"
        tiny_tower(path, "openclip", size)
        return vision.OpenClipVision(core.load(path, dtype=torch.float32), torch.device("cpu"))
