"""Adapters are read from disk once, each tensor into its place: loading one takes its own size and no more."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import Entry
from fabricate import adapters
from fabricate.towers import tiny_tower
from package import ROOT
from published_shapes import FILES, entries, safetensors_header, tensor_bytes

Write = Callable[[Path, str], Path]

# How many bytes a process grows at its largest by loading each file, and how many the tensors have: a line for each.
LOAD = """
import os
import sys
from resource import RUSAGE_SELF, getrusage
from ip_adapter_core.adapters import loading
small, *large = sys.argv[1:]
for file in large:
    if os.fork():
        os.wait()
        continue
    loading.load(small)
    before = getrusage(RUSAGE_SELF).ru_maxrss
    loaded = loading.load(file)
    grown = getrusage(RUSAGE_SELF).ru_maxrss - before
    print(grown * 1024, sum(tensor.nbytes for tensor in loaded.named_tensors().values()), flush=True)
    os._exit(0)
"""


def sparse(path: Path, file: str) -> Path:
    """A published file full of zeros that take no room on disk."""
    named = entries(file)
    header = safetensors_header(named)
    with path.open("wb") as opened:
        opened.write(header)
        opened.truncate(len(header) + tensor_bytes(named))
    return path


def pickled(path: Path, file: str) -> Path:
    """A published file as a pickle."""
    named = {name: torch.zeros(entry.shape, dtype=torch.float16) for name, entry in entries(file).items()}
    torch.save(named, path)
    return path


def raw(path: Path, file: str) -> Path:
    """What a trainer saves: a published file beside the whole base model."""
    named = entries(file)
    base = {f"unet.{number}.weight": Entry((2**26,), "F16") for number in range(8)}
    header = safetensors_header(named | base)
    with path.open("wb") as opened:
        opened.write(header)
        opened.truncate(len(header) + tensor_bytes(named | base))
    return path


LARGE: list[tuple[str, Write, str]] = [
    ("ip-adapter-plus_sdxl_vit-h", sparse, "safetensors"),
    ("ip-adapter-faceid-plusv2_sdxl", sparse, "safetensors"),
    ("ip-adapter-plus_sd15", pickled, "bin"),
    ("ip-adapter-plus_sd15", raw, "safetensors"),
]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory in other units")
def test_loading_takes_as_much_memory_as_the_adapter_has(tmp_path: Path) -> None:
    small = sparse(tmp_path / "small.safetensors", "ip-adapter_sd15")
    large = [write(tmp_path / f"{write.__name__}-{file}.{ending}", file) for file, write, ending in LARGE]
    command = [sys.executable, "-c", LOAD, str(small), *map(str, large)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for (file, write, _), line in zip(LARGE, done.stdout.splitlines(), strict=True):
        grown, held = map(float, line.split())
        assert held == 2 * FILES[file].parameters, file
        assert grown < 1.1 * held, (file, write.__name__)


# Load a file, keep its LoRA and a tower, cut the files short and overwrite them, and use everything.
CUT = """
import sys
from ip_adapter_core.adapters import loading
from ip_adapter_core.vision import encoder
*files, tower = sys.argv[1:]
held = [loading.load(file) for file in files]
tower = encoder.load(tower)
loras = [one.lora for one in held if one.lora]

def use():
    tensors = [tensor for one in held for tensor in one.named_tensors().values()]
    tensors += [tensor for lora in loras for tensor in lora.named_tensors().values()]
    return sum(float(tensor.float().abs().sum()) for tensor in tensors + list(tower.state_dict().values()))

before = use()
for file in sys.argv[1:]:
    with open(file, "r+b") as opened:
        opened.truncate(2000)
assert use() == before
for file in sys.argv[1:]:
    with open(file, "wb") as opened:
        opened.write(bytes(5000))
assert use() == before
del held[:]
assert loras[0].named_tensors()
print(before > 0)
"""


def test_files_may_be_cut_short_while_they_are_held(tmp_path: Path) -> None:
    """By a download that starts over; what is mapped ends the process with SIGBUS."""
    options = adapters.KINDS["FaceID"]
    files = [adapters.tiny_adapter(tmp_path / f"face.{ending}", **options) for ending in ("safetensors", "bin")]
    tiny_tower(tmp_path / "tower.safetensors", "bare")
    given = [*map(str, files), str(tmp_path / "tower.safetensors")]
    done = subprocess.run([sys.executable, "-c", CUT, *given], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
