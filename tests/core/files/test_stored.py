"""Tensors that stay in their file: what `tensors` reads, in either container; a changed file is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.files.stored import stored_tensors
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import tensors

Write = Callable[[dict[str, Tensor], Path], object]

both = pytest.mark.parametrize("write", [save_file, torch.save])


def some() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    made = {f"{size}.weight": torch.randn(size, 5, generator=random) for size in (7, 7, 3, 1)}
    half = {"half": torch.randn(9, 2, 3, generator=random).half(), "number": torch.tensor([3])}
    return made | half | {"empty": torch.empty(0, 4), "scalar": torch.tensor(2.5)}


def written(folder: Path, write: Write, named: dict[str, Tensor] | None = None) -> Path:
    path = folder / "adapter.bin"
    write(some() if named is None else named, path)
    return path


@both
def test_they_are_what_is_read_otherwise(tmp_path: Path, write: Write) -> None:
    named = {name: tensor for name, tensor in some().items() if tensor.numel()}
    path = written(tmp_path, write, named)
    found = stored_tensors(path)
    assert found.keys() == tensors(path).keys() == named.keys()
    for name, tensor in named.items():
        assert torch.equal(found[name].read(), tensor)
        assert found[name].shape == tuple(tensor.shape)


@both
@pytest.mark.parametrize("size", [1, 40, 45, 10**6])
def test_parts_are_the_tensor_in_order_and_no_larger_than_asked_for(tmp_path: Path, write: Write, size: int) -> None:
    stored = stored_tensors(written(tmp_path, write))["7.weight"]
    parts = list(stored.parts(size))
    assert torch.equal(torch.cat(parts), some()["7.weight"])
    assert all(part.nbytes <= max(size, 20) for part in parts)
    assert max(map(len, parts)) == stored.rows_at_once(size)
    assert len(parts) == {1: 7, 40: 4, 45: 4, 10**6: 1}[size]


def test_nested_pickles_and_tensors_that_share_their_values_are_found(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(4, 3)
    path = tmp_path / "a.bin"
    torch.save({"image_proj": {"a": whole, "b": whole[2:]}, "ip_adapter": {"1.c": whole.clone()}}, path)
    found = stored_tensors(path)
    assert torch.equal(found["image_proj.b"].read(), whole[2:])
    assert torch.equal(found["ip_adapter.1.c"].read(), whole)


def test_where_places_are_not_certain_there_are_none(tmp_path: Path) -> None:
    """The list's tensor has no name: the two could lie in the first and second, or second and third record."""
    like = torch.zeros(4)
    for content, options in (
        ({"a": like}, {"_use_new_zipfile_serialization": False}),
        ({"turned": torch.zeros(2, 3).T}, {}),
        ({"list": [torch.zeros(4)], "a": like, "b": torch.zeros(4)}, {}),
    ):
        torch.save(content, tmp_path / "a.bin", **options)
        assert stored_tensors(tmp_path / "a.bin") == {}


@both
def test_a_file_that_was_changed_or_is_gone_is_refused(tmp_path: Path, write: Write) -> None:
    path = written(tmp_path, write)
    stored = stored_tensors(path)["half"]
    os.utime(path, ns=(1, 1))
    with pytest.raises(UnsupportedCheckpoint, match=r"^Load adapter\.bin again; it was changed"):
        stored.read()
    path.unlink()
    with pytest.raises(UnsupportedCheckpoint, match=r"adapter\.bin"):
        list(stored.parts())
