"""Adapters are mapped from disk: loading one of a gigabyte takes next to no memory."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from published_shapes import FILES, entries, safetensors_header, tensor_bytes

Write = Callable[[Path, str], Path]
ROOT = Path(__file__).resolve().parents[1]

# How much the process has grown at its largest, in MB, by loading a file; and how many bytes the tensors have. What a
# look at a mapped tensor brings in (64 KB around it) counts too.
LOAD = """
import sys
from resource import RUSAGE_SELF, getrusage
from ip_adapter_core import adapter
small, large = sys.argv[1:]
adapter.load(small)
before = getrusage(RUSAGE_SELF).ru_maxrss
loaded = adapter.load(large)
grown = getrusage(RUSAGE_SELF).ru_maxrss - before
print(grown / 1024, sum(tensor.nbytes for tensor in loaded.published().values()))
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


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory in other units")
@pytest.mark.parametrize(
    ("file", "write", "ending"),
    [
        ("ip-adapter-plus_sdxl_vit-h", sparse, "safetensors"),
        ("ip-adapter-faceid-plusv2_sdxl", sparse, "safetensors"),
        ("ip-adapter-plus_sd15", pickled, "bin"),
    ],
)
def test_loading_takes_a_small_part_of_the_files_size(tmp_path: Path, file: str, write: Write, ending: str) -> None:
    small = sparse(tmp_path / "small.safetensors", "ip-adapter_sd15")
    large = write(tmp_path / f"large.{ending}", file)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(small), str(large)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    grown, mapped = map(float, done.stdout.split())
    assert mapped == 2 * FILES[file].parameters
    assert grown < 0.1 * large.stat().st_size / 2**20
