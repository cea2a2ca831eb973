"""Weight files are read, never executed nor mapped, and damaged ones are refused in one sentence."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from comfyui_ip_adapter.ip_adapter_core.files.errors import UnsupportedCheckpoint
from comfyui_ip_adapter.ip_adapter_core.files.tensor_file import _DTYPES, EXTENSIONS, Entry, container, entries, tensors
from payload import Payload


def saved(path: Path) -> Path:
    save_file({"a": torch.arange(6.0).reshape(2, 3), "b.c": torch.ones(4, dtype=torch.float16)}, path)
    return path


def test_a_header_tells_names_shapes_and_dtypes(tmp_path: Path) -> None:
    found = entries(saved(tmp_path / "x.safetensors"))
    assert {name: entry.shape for name, entry in found.items()} == {"a": (2, 3), "b.c": (4,)}
    assert found["b.c"].dtype == "F16"


def test_both_containers_give_the_same_names(tmp_path: Path) -> None:
    torch.save({"part": {"a": torch.ones(2), "inner": {"b": torch.ones(3)}}, "step": 7}, tmp_path / "x.bin")
    save_file({"part.a": torch.ones(2), "part.inner.b": torch.ones(3)}, tmp_path / "x.safetensors")
    assert set(tensors(tmp_path / "x.bin")) == set(tensors(tmp_path / "x.safetensors"))


def test_the_format_before_torch_1_6_is_read_too(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3)}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert torch.equal(tensors(tmp_path / "old.bin")["a"], torch.arange(3))


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"image_proj": Payload(tmp_path / "executed")}, tmp_path / "evil.bin")
    with pytest.raises(UnsupportedCheckpoint, match="wants to run code"):
        tensors(tmp_path / "evil.bin")
    assert not (tmp_path / "executed").exists()


def test_code_in_a_bare_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Payload(tmp_path / "executed"), protocol=2))
    with pytest.raises(UnsupportedCheckpoint):
        entries(tmp_path / "evil.pt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["x.safetensors", "x.bin"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    if name.endswith("bin"):
        torch.save({"a": torch.ones(1000)}, path)
    else:
        saved(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    for read in (entries, tensors):
        with pytest.raises(UnsupportedCheckpoint, match=name):
            read(path)


@pytest.mark.parametrize("ending", [*EXTENSIONS, ".SAFETENSORS", ".Safetensors", ".Bin"])
@pytest.mark.parametrize("write", [save_file, torch.save])
def test_a_file_is_told_by_its_content_whatever_it_is_called(
    tmp_path: Path, ending: str, write: Callable[..., object]
) -> None:
    write({"a": torch.arange(3.0)}, tmp_path / f"x{ending}")
    assert entries(tmp_path / f"x{ending}") == {"a": Entry((3,), "F32")}
    assert torch.equal(tensors(tmp_path / f"x{ending}")["a"], torch.arange(3.0))
    assert container(tmp_path / f"x{ending}") == ("flat safetensors" if write is save_file else "flat pickle")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Download NAME again; it is empty"),
        (b"<!DOCTYPE html>", "Download the file itself; NAME is a web page"),
        (b"version https://git-lfs", "Download the file itself; NAME is only a Git LFS pointer"),
    ],
)
@pytest.mark.parametrize("name", ["x.safetensors", "x.bin"])
def test_what_a_failed_download_left_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (entries, tensors, container):
        with pytest.raises(UnsupportedCheckpoint, match=message.replace("NAME", name)):
            read(tmp_path / name)


@pytest.mark.parametrize("first", [0x80, 0x50])
def test_a_header_whose_length_looks_like_another_file_is_read(tmp_path: Path, first: int) -> None:
    for padding in range(256):
        save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors", metadata={"padding": "x" * 8 * padding})
        if (tmp_path / "x.safetensors").read_bytes()[0] == first:
            break
    assert (tmp_path / "x.safetensors").read_bytes()[0] == first
    assert entries(tmp_path / "x.safetensors")["a"].shape == (2,)


def test_a_missing_file_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"gone\.safetensors does not exist"):
        entries(tmp_path / "gone.safetensors")


def test_a_picture_is_no_weight_file(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"png")
    with pytest.raises(UnsupportedCheckpoint, match="is no weight file"):
        entries(tmp_path / "x.png")


def test_a_pickled_list_is_no_weight_file(tmp_path: Path) -> None:
    torch.save([torch.ones(2)], tmp_path / "x.bin")
    with pytest.raises(UnsupportedCheckpoint, match="holds a list"):
        tensors(tmp_path / "x.bin")


@pytest.mark.parametrize("dtype", _DTYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_every_dtype_and_shape_is_read_as_safetensors_reads_it(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    random = torch.Generator().manual_seed(0)
    held = torch.randint(0, 2, (*shape, dtype.itemsize), dtype=torch.uint8, generator=random).view(dtype)[..., 0]
    save_file({"odd": torch.ones(3, dtype=torch.uint8), "a": held.contiguous()}, tmp_path / "x.safetensors")
    found, wanted = tensors(tmp_path / "x.safetensors"), load_file(tmp_path / "x.safetensors")
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
        assert found[name].reshape(-1).view(torch.uint8).equal(value.reshape(-1).view(torch.uint8))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"dtype": "F4"}, "no dtype F4 is known"),
        ({"shape": [7]}, r"24 bytes are no tensor of shape \[7\] in F32"),
        ({"shape": [-2, -3]}, r"24 bytes are no tensor of shape \[-2, -3\] in F32"),
    ],
)
def test_a_header_that_says_what_cannot_be_is_refused(tmp_path: Path, row: dict[str, object], message: str) -> None:
    header = {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | row}
    raw(tmp_path / "x.safetensors", header, 24)
    with pytest.raises(UnsupportedCheckpoint, match=message):
        tensors(tmp_path / "x.safetensors")["a"]


def test_tensors_that_lie_in_each_other_are_refused(tmp_path: Path) -> None:
    """A small file could ask for any amount of memory."""
    row = {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}
    raw(tmp_path / "x.safetensors", {"a": row, "b": row}, 24)
    with pytest.raises(UnsupportedCheckpoint, match="its tensors need 48 bytes and it holds 24"):
        entries(tmp_path / "x.safetensors")


def raw(path: Path, header: object, size: int) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))


@pytest.mark.parametrize("write", [save_file, torch.save])
def test_what_was_read_stays_whatever_befalls_the_file(tmp_path: Path, write: Callable[..., object]) -> None:
    path = tmp_path / "x.safetensors"
    write({"a": torch.arange(100_000.0)}, path)
    found = dict(tensors(path))
    path.write_bytes(path.read_bytes()[:200_000])
    path.write_bytes(b"")
    assert torch.equal(found["a"], torch.arange(100_000.0))


def test_a_file_that_is_cut_short_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.safetensors")
    found = tensors(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnsupportedCheckpoint, match=r"x\.safetensors .* ends before its last tensor"):
        dict(found)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    save_file({"large": torch.zeros(64, 2**20), "small": torch.ones(2)}, tmp_path / "x.safetensors")
    before = psutil.Process().memory_info().rss
    assert tensors(tmp_path / "x.safetensors")["small"].tolist() == [1, 1]
    assert psutil.Process().memory_info().rss - before < 64 * 2**20
