"""A file is there whole or not at all."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from comfyui_ip_adapter.ip_adapter_core.files import atomic

TENSORS = {"a": torch.arange(3)}


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.safetensors"
    atomic.save_whole(TENSORS, path)
    assert load_file(path)["a"].tolist() == [0, 1, 2]
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    atomic.save_whole(TENSORS, path)
    before = path.read_bytes()

    def fail(tensors: object, unfinished: Path, metadata: object) -> None:
        unfinished.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(atomic, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        atomic.save_whole(TENSORS, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
