"""Entering ComfyUI from a process of its own: where it is looked for, and what is said where it is not."""

from pathlib import Path

import pytest

from comfyui_ip_adapter import outside


def tree(folder: Path) -> Path:
    """What looks like a ComfyUI."""
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").touch()
    return folder


def test_the_named_folder_is_taken(tmp_path: Path) -> None:
    assert outside.find_comfyui(tree(tmp_path / "here")) == tmp_path / "here"


def test_without_a_name_it_is_the_one_around_the_package_by_its_link_or_its_real_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = tree(tmp_path / "around")
    real = tmp_path / "elsewhere" / "package"
    real.mkdir(parents=True)
    (around / "custom_nodes").mkdir()
    link = around / "custom_nodes" / "package"
    link.symlink_to(real, target_is_directory=True)
    monkeypatch.setattr(outside, "ROOT", link)
    assert outside.find_comfyui() == around
    monkeypatch.setattr(outside, "ROOT", real)
    with pytest.raises(ValueError, match=r"Name the folder of ComfyUI with enter; .*package does not lie in one"):
        outside.find_comfyui()


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Name the folder of ComfyUI with enter; .* has no main\.py and comfy/"):
        outside.find_comfyui(tmp_path)
