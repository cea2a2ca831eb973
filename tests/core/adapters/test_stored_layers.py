"""An adapter whose weights stay in its file computes as one that holds them, and needs little memory for it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load
from comfyui_ip_adapter.ip_adapter_core.adapters.saving import save
from comfyui_ip_adapter.ip_adapter_core.adapters.stored_layers import StoredLinear
from comfyui_ip_adapter.ip_adapter_core.files import stored
from comfyui_ip_adapter.ip_adapter_core.files.stored import Stored, stored_tensors
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import tensors
from fabricate import adapters
from package import SUPPORT
from published_shapes import entries, safetensors_header, tensor_bytes

KIND, FILE = "InstantX Flux", "ip-adapter (InstantX Flux)"
MOST = 256 << 20  # bytes that the published file of 5.3 GB may need at once
SPARE = 1 << 30  # bytes after which the system refuses more, before a machine has none left
SCRIPT = """
import resource, sys
sys.path.insert(0, sys.argv[2])
import package, torch
from comfyui_ip_adapter.ip_adapter_core.adapters.loading import load

def said(name):
    (line,) = (line for line in open("/proc/self/status") if line.startswith(name))
    return 1024 * int(line.split()[1])

torch.set_num_threads(1)
before, limit = said("VmRSS"), said("VmData") + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
adapter = load(sys.argv[1]).float()
adapter.digest()
tokens = adapter.tokens(torch.zeros(1, 1152))
assert tokens.shape == (1, 128, 4096)
for layer in (*adapter.layers()[:2], adapter.layers()[-1]):
    keys, values = layer(tokens[:, :8])
    assert keys.shape == values.shape == (1, 8, 3072)
print(said("VmHWM") - before)
"""


def written(folder: Path, write: Callable[..., object], dtype: torch.dtype) -> Path:
    nested = adapters.adapter(**adapters.KINDS[KIND])
    flat = {name: tensor.to(dtype) for name, tensor in adapters.flat(nested).items()}
    write(flat, folder / "ip-adapter.bin")
    return folder / "ip-adapter.bin"


def readings() -> Tensor:
    return torch.randn(2, 1152, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("size", [1, 1000, stored.PART])
def test_it_is_the_linear_layer_of_its_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    plain, x = nn.Linear(6, 9), torch.randn(2, 3, 6)
    save_file({"weight": plain.weight.data}, tmp_path / "a.safetensors")
    place = stored_tensors(tmp_path / "a.safetensors")["weight"]
    parts = Stored.parts
    monkeypatch.setattr(Stored, "parts", lambda self: parts(self, size))
    for bias in (plain.bias, None):
        layer = StoredLinear(place, bias is not None)
        layer.bias = bias
        torch.testing.assert_close(layer(x), nn.functional.linear(x, plain.weight, bias))
    assert torch.equal(layer.weight, plain.weight)
    assert not layer.state_dict()  # of the last, which has no bias


@pytest.mark.parametrize("write", [save_file, torch.save])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_an_adapter_that_stays_in_its_file_is_the_one_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[..., object], dtype: torch.dtype
) -> None:
    path = written(tmp_path, write, dtype)
    here = load(path)
    monkeypatch.setattr("comfyui_ip_adapter.ip_adapter_core.adapters.loading.stored_tensors", lambda path: {})
    held = load(path)
    assert sum(part.nbytes for part in here.parameters()) < 0.1 * sum(part.nbytes for part in held.parameters())
    here.float(), held.float()
    with torch.no_grad():
        for pair, wanted in zip(here(readings()), held(readings()), strict=True):
            torch.testing.assert_close(pair.keys, wanted.keys, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(pair.values, wanted.values, atol=1e-5, rtol=1e-5)
    assert here.digest() == held.digest()
    assert here.identity() == held.identity()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_of_the_file_is_within_its_rounding(tmp_path: Path, dtype: torch.dtype) -> None:
    """Of a sum of many products, each off by at most the half step of the dtype, the errors mostly cancel."""
    whole = load(written(tmp_path, save_file, torch.float32))
    with torch.no_grad():
        exact = whole(readings())
    half = load(written(tmp_path, torch.save, dtype)).float()
    step = torch.finfo(dtype).eps
    with torch.no_grad():
        for pair, wanted in zip(half(readings()), exact, strict=True):
            for found, right in zip(pair, wanted, strict=True):
                assert 0 < ((found - right).norm() / right.norm()).item() < step


def test_it_is_saved_with_all_its_weights(tmp_path: Path) -> None:
    path = written(tmp_path, save_file, torch.float16)
    save(load(path), tmp_path / "again.safetensors", "fp16")
    again, first = load(tmp_path / "again.safetensors"), load(path)
    assert tensors(tmp_path / "again.safetensors").keys() == {**first.named_tensors()}.keys()
    assert again.digest() == first.digest()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured as Linux says it")
def test_the_published_file_needs_a_small_part_of_its_size(tmp_path: Path) -> None:
    """Its header and as many zeros as it has weights, which take no place on the disk."""
    path, named = tmp_path / "ip-adapter.safetensors", entries(FILE)
    head = safetensors_header(named)
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(len(head) + tensor_bytes(named))
    assert path.stat().st_size > 5.2e9
    command = [sys.executable, "-c", SCRIPT, str(path), str(SUPPORT), str(SPARE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < MOST, f"It needed {int(done.stdout) / 1e6:.0f} MB"
    print(f"{int(done.stdout) / 1e6:.0f} MB for a file of {path.stat().st_size / 1e9:.1f} GB")
