"""Model files that only some live tests need, added under a running server: ComfyUI sees new files by itself."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from fabricate.adapters import KINDS, tiny_adapter
from fabricate.checkpoints import SD15_SMALLEST, sd15_checkpoint
from fabricate.loras import tiny_lora
from fabricate.towers import pooling_tower, tiny_tower
from live.kinds import OF_PICTURES, POOLING_TOWER, TOWER

FOLDER = "specimens"
Fabricate = Callable[[Path], object]

sd15_adapter = partial(tiny_adapter, widths=(SD15_SMALLEST.channels,) * 4, context=SD15_SMALLEST.context)

GOOD: dict[str, Fabricate] = {
    **{f"ipadapter/{kind}.safetensors": partial(tiny_adapter, **KINDS[kind]) for kind in OF_PICTURES},
    "ipadapter/base.bin": tiny_adapter,
    f"clip_vision/{TOWER}": tiny_tower,
    f"clip_vision/{POOLING_TOWER}": pooling_tower,
    "loras/tiny.safetensors": tiny_lora,
}

SD15: dict[str, Fabricate] = {
    "checkpoints/sd15.safetensors": sd15_checkpoint,
    "ipadapter/sd15.safetensors": sd15_adapter,
}


def add(models: Path, files: dict[str, Fabricate]) -> None:
    """Make those of the files that are not there yet, each in the folder `specimens` of its category."""
    for name, fabricate in files.items():
        category, file = name.split("/", 1)
        path = models / category / FOLDER / file
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fabricate(path)


def named(file: str) -> str:
    """How menus call a specimen."""
    return f"{FOLDER}/{file}"
