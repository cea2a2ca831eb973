"""InstantX's adapter for Flux at its true size, through the nodes: what is held at once is a small part of its file."""

import subprocess
import sys
from pathlib import Path

import pytest

from package import SUPPORT
from published_shapes import entries, safetensors_header, tensor_bytes

FILE = "ip-adapter (InstantX Flux)"
TOKENS, CONTEXT, INNER, LAYERS = 128, 4096, 3072, 57
GIVEN = 4 * 2 * TOKENS * (CONTEXT + 2 * LAYERS * INNER)  # bytes of tokens, K' and V' of both sides in fp32
BESIDE = 128 << 20  # bytes that encoding may need at most beside what it gives
SCRIPT = """
import os, resource, sys
from pathlib import Path
base, support, given, beside = Path(sys.argv[1]), *sys.argv[2:]
sys.path[:0] = [support, str(Path(support).parents[1] / ".ci")]
import package, torch
from develop.inprocess import enter
enter(base)
import folder_paths
from comfyui_ip_adapter.nodes.encode import Encode
from comfyui_ip_adapter.nodes.load import LoadAdapter, LoadVision
from fabricate.siglip import tiny_siglip
import tinysiglip

for category in ("ipadapter", "clip_vision"):
    folder_paths.folder_names_and_paths[category] = ([str(base / category)], folder_paths.supported_pt_extensions)
tiny_siglip(base / "clip_vision" / "siglip.safetensors")

def said(name):
    (line,) = (line for line in open("/proc/self/status") if line.startswith(name))
    return 1024 * int(line.split()[1])

torch.set_num_threads(1)
with torch.inference_mode():
    encoder = LoadVision.execute("siglip.safetensors", "auto").args[0]
    encoder.encode_image(torch.rand(1, 56, 56, 3))
    before, limit = said("VmRSS"), said("VmData") + int(given) + 2 * int(beside)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # before a machine has none left
    adapter = LoadAdapter.execute("flux.safetensors").args[0]
    prompt = Encode.execute(adapter, encoder, torch.rand(1, 56, 56, 3), "squash").args[0]
    peak = said("VmHWM") - before
(part,) = prompt.parts
pairs = [(*pair.keys.shape, *pair.values.shape) for pair in part.keys_values]
assert pairs == [(2, 128, 3072) * 2] * 57, pairs
held = [part.tokens, *(tensor for pair in part.keys_values for tensor in pair)]
assert sum(tensor.nbytes for tensor in held) == int(given)
print(peak)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured as Linux says it")
def test_encoding_needs_little_memory_beside_what_it_gives(tmp_path: Path) -> None:
    """The published file's header, and as many zeros as it has weights, which take no place on the disk."""
    for folder in ("ipadapter", "clip_vision"):
        (tmp_path / folder).mkdir()
    path, named = tmp_path / "ipadapter" / "flux.safetensors", entries(FILE)
    head = safetensors_header(named)
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(len(head) + tensor_bytes(named))
    assert path.stat().st_size > 5.2e9
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(SUPPORT), str(GIVEN), str(BESIDE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    beside = int(done.stdout.split()[-1]) - GIVEN
    print(f"{beside / 1e6:.0f} MB beside {GIVEN / 1e6:.0f} MB of tokens, keys and values")
    assert 0 < beside < BESIDE
