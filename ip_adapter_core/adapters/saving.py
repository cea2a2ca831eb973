"""Saving adapters to files, in the layout that every program reads."""

from __future__ import annotations

from pathlib import Path

import torch

from ..files.atomic import save_whole
from ..text.wording import quoted
from .adapter import Adapter

_LONGEST_NAME = 200  # bytes; file systems take 255, of which the number, the ending and an unfinished file need some

DTYPES: dict[str, torch.dtype] = {"fp16": torch.float16, "fp32": torch.float32}


def save(adapter: Adapter, path: Path, dtype: str = "fp16") -> None:
    """Write `image_proj.*` and `ip_adapter.<n>.to_k_ip.weight`, …; the file is there whole or not at all.

    dtype: a row of DTYPES. Raises ValueError when the weights do not fit into it.
    """
    weights = {name: _convert(name, tensor, dtype) for name, tensor in adapter.named_tensors().items()}
    save_whole(weights, path, {"format": "pt"})


def free_path(folder: Path, prefix: str) -> Path:
    """`<folder>/<prefix>_00001.safetensors` with the first number above all that are there.

    Raises ValueError when the prefix leads out of the folder.
    """
    start = _inside(folder.resolve(), prefix)
    endings = (path.stem.removeprefix(f"{start.name}_") for path in start.parent.glob("*.safetensors"))
    number = 1 + max((int(ending) for ending in endings if ending.isdecimal()), default=0)
    return start.with_name(f"{start.name}_{number:05d}.safetensors")


def _inside(folder: Path, prefix: str) -> Path:
    """The path of a prefix in a folder. Raises ValueError when the prefix is no valid name there."""
    try:
        start = (folder / prefix).resolve()
    except (ValueError, OSError):  # what no file system takes, or a link to itself
        start = folder
    if not prefix or prefix[-1] in "/\\" or folder not in start.parents:
        raise ValueError(f"Use letters, or folder/name, for a file in {folder}; {quoted(prefix)} is no name there.")
    if any(len(part.encode()) > _LONGEST_NAME for part in start.relative_to(folder).parts):
        raise ValueError(f"Use a shorter name for a file in {folder}; {quoted(prefix)} has {len(prefix)} letters.")
    return start


def _convert(name: str, tensor: torch.Tensor, dtype: str) -> torch.Tensor:
    if not tensor.isfinite().all():
        raise ValueError(f"Train again with a lower rate; {name} holds values that are no numbers.")
    values = tensor.detach().to("cpu", DTYPES[dtype], copy=True).contiguous()
    if not values.isfinite().all():
        raise ValueError(f"Choose fp32; {name} does not fit into {dtype}.")
    return values
