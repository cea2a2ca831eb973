"""Face embeddings from elsewhere: from another node, or from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from .features import WIDTH

EXTENSIONS = (".safetensors", ".npy")
_NUMBERS = "fiu"  # NumPy's kinds
_MOST = 2**16  # faces of a file
_KEY = "embedding"  # of insightface's faces, and of the face models that ReActor saves


def embeddings(value: Any) -> Tensor:
    """Face embeddings (faces, 512), float32, from a tensor, an array, a face with an `embedding`, or a list of these.

    Raises ValueError, which describes the value, for anything else.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind not in _NUMBERS:
        raise ValueError(f"Connect numbers of shape (…, {WIDTH}) as face embeddings; found an array of {value.dtype}.")
    if isinstance(value, Tensor | np.ndarray):
        return _check(torch.as_tensor(value))
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("Connect face embeddings with at least one face; found an empty list.")
        numbers = all(isinstance(one, Number) for one in value)
        return _check(torch.tensor(value)) if numbers else torch.cat([embeddings(one) for one in value])
    inner = value.get(_KEY) if isinstance(value, Mapping) else getattr(value, _KEY, None)
    if inner is None:
        raise ValueError(
            f"Connect a tensor or an array of shape (…, {WIDTH}), or a face with `{_KEY}`; found a "
            f"{type(value).__name__} without it."
        )
    return embeddings(inner)


def read(file: Path) -> Tensor:
    """Face embeddings (faces, 512) of a .safetensors or .npy file; nothing in it is executed.

    Raises ValueError, with the file's name, when it has none.
    """
    try:
        return embeddings(_READERS[file.suffix.lower()](file))
    except (ValueError, OSError, EOFError, OverflowError, MemoryError, SafetensorError) as error:
        raise ValueError(f"Choose another file; {file.name} gives no face embeddings: {error}") from error


def _check(tensor: Tensor) -> Tensor:
    shape = "x".join(map(str, tensor.shape)) or "a single number"
    if tensor.shape[-1:] != (WIDTH,) or not tensor.numel():
        raise ValueError(f"Connect face embeddings of shape (…, {WIDTH}); found {shape}.")
    if not tensor.isfinite().all():
        raise ValueError("Make the face embeddings again; they contain values that are no numbers.")
    return tensor.detach().cpu().float().reshape(-1, WIDTH)


def _of_tensors(file: Path) -> Tensor:
    tensors = load(file.read_bytes())
    fitting = [key for key, value in tensors.items() if value.shape[-1:] == (WIDTH,)]
    key = _KEY if _KEY in tensors else fitting[0] if len(fitting) == 1 else None
    if key is None:
        raise ValueError(
            f"it has {', '.join(sorted(tensors)[:4]) or 'no tensors'}; needed is one called {_KEY}, "
            f"or a single one of shape (…, {WIDTH})."
        )
    return tensors[key]


def _of_array(file: Path) -> np.ndarray:
    """The array of a file, mapped first: a header may claim any shape, and an archive may unpack to any size."""
    try:
        mapped = np.lib.format.open_memmap(file, mode="r")
    except (ValueError, OverflowError, MemoryError) as error:
        raise ValueError("it is no whole .npy file of one array of numbers; save it again with numpy.save.") from error
    if mapped.size > _MOST * WIDTH:
        raise ValueError(f"it has {mapped.size} numbers; needed are at most {_MOST} faces of {WIDTH}.")
    return np.array(mapped)


_READERS: dict[str, Callable[[Path], Any]] = {".safetensors": _of_tensors, ".npy": _of_array}
