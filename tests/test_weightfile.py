"""Weight files are mapped, never executed, and damaged ones are refused in one sentence."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from comfyui_ip_adapter.ip_adapter_core.weightfile import UnsupportedCheckpoint, entries, tensors


class Payload:
    """Unpickling this would create a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


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


def test_a_renamed_file_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "pickle.safetensors")
    with pytest.raises(UnsupportedCheckpoint, match=r"a pickle file under the name \.safetensors; rename it to \.bin"):
        entries(tmp_path / "pickle.safetensors")
    saved(tmp_path / "x.safetensors").rename(tmp_path / "header.bin")
    with pytest.raises(UnsupportedCheckpoint, match=r"header\.bin"):
        tensors(tmp_path / "header.bin")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"<!DOCTYPE html>", "is a web page"), (b"version https://git-lfs", "only a Git LFS pointer")],
)
def test_what_a_failed_download_left_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(UnsupportedCheckpoint, match=message):
        entries(tmp_path / "x.safetensors")


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


def test_a_safetensors_file_is_mapped_not_copied(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(64, 2**20)}, tmp_path / "large.safetensors")
    before = _private_memory()
    found = tensors(tmp_path / "large.safetensors")
    assert found["a"].shape == (64, 2**20)
    assert _private_memory() - before < 64 * 2**20


def _private_memory() -> int:
    import psutil

    memory = psutil.Process().memory_info()
    return memory.rss - getattr(memory, "shared", 0)
