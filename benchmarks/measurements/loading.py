"""Goal 7: loading an adapter of 850 MB, against reading its file into memory."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from published_shapes import entries, safetensors_header, tensor_bytes

from ...nodes.host import adapters
from ..figures import Findings
from ..settings import Settings
from ..timing import interleaved, ratios

FILE = "ip-adapter-plus_sdxl_vit-h"
_CHUNK = 1 << 24
_PAGE = 4096
_LOAD, _READ = "loading that adapter, every page touched", "reading its file into memory"
_MEGA = 1e6


def measure(settings: Settings) -> Findings:
    """Time and memory until every page of the file is there, through the loaded adapter."""
    found = Findings()
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / f"{FILE}.safetensors")
        size = path.stat().st_size
        how = f"{size / _MEGA:.0f} MB, safetensors, warm cache"
        memory(found, path, size)
        actions = {
            _LOAD: lambda: load(path, touched),
            _READ: path.read_bytes,
            "loading it without touching a weight": lambda: adapters.read(FILE, path),
            "loading it and copying every weight": lambda: load(path, torch.clone),
            "reading that file through a buffer of 16 MB": lambda: read(path),
        }
        taken = interleaved(actions, settings.brief)
    found.add("loading", ratios(taken[_LOAD], taken[_READ]), "×", how)
    for what, seconds in taken.items():
        found.add(what, [1000 * one for one in seconds], "ms", how)
    return found


def written(path: Path) -> Path:
    """A file with the names, shapes and size of a published one, and noise for weights."""
    named = entries(FILE)
    noise = torch.randn(_CHUNK // 2, generator=torch.Generator().manual_seed(0)).half().numpy().tobytes()
    left = tensor_bytes(named)
    with path.open("wb") as opened:
        opened.write(safetensors_header(named))
        while left:
            left -= opened.write(noise[:left])
    return path


def read(path: Path) -> None:
    """Read a file from beginning to end, as fast as it goes."""
    chunk = bytearray(_CHUNK)
    with path.open("rb", buffering=0) as opened:
        while opened.readinto(chunk):
            pass


def load(path: Path, use: Callable[[Tensor], object]) -> None:
    """Load the adapter and make use of each of its weights."""
    for weight in adapters.read(FILE, path).patcher.model.named_tensors().values():
        use(weight)


def touched(weight: Tensor) -> Tensor:
    """A look at every page of a weight."""
    return weight.detach().flatten().view(torch.uint8)[::_PAGE].max()


def memory(found: Findings, path: Path, size: int) -> None:
    """How much the process is larger at its largest than before loading."""
    if sys.platform != "linux":
        found.lack(["loading memory"], "only Linux tells a process its largest size anew")
        return
    Path("/proc/self/clear_refs").write_text("5")  # largest so far: what it is now
    before = _resident("VmRSS")
    load(path, touched)
    found.add("loading memory", (_resident("VmHWM") - before) / size, "×", f"{size / _MEGA:.0f} MB, safetensors")


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
