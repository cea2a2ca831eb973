"""The model files that the test server and `make serve` offer."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from fabricate.checkpoints import tiny_checkpoint, tiny_controlnet
from live.published import PUBLISHED

FILES: dict[str, Callable[[Path], Path]] = {
    "checkpoints/tiny.safetensors": tiny_checkpoint,
    "checkpoints/tiny_inpaint.safetensors": partial(tiny_checkpoint, in_channels=9),
    "controlnet/tiny.safetensors": tiny_controlnet,
    **PUBLISHED,
}


def fabricate_models(models: Path) -> None:
    """Make every file that is not there yet under `models`."""
    for name, fabricate in FILES.items():
        if not (models / name).exists():
            fabricate(models / name)
