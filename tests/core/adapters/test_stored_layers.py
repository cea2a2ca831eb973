"""An adapter whose weights stay in its file computes as one that holds them. What it needs: host/test_true_size.py."""

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

KIND = "InstantX Flux"


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
