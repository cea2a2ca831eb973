"""`make gpu`: what is gathered for a machine with a card, and the report, which fails where a row is wrong."""

import subprocess
import sys
import tarfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from package import ROOT

FOLDER = ROOT / "benchmarks" / "gpu"


def module(name: str) -> Any:
    """A program of the folder, as it is run by itself."""
    spec = spec_from_file_location(f"gpu_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return module("check")


def test_what_is_gathered_is_the_package_and_a_comfyui_without_its_frontend(tmp_path: Path) -> None:
    tree = tmp_path / "ComfyUI"
    for name in ("main.py", "comfy/ops.py", "comfy/__pycache__/ops.pyc", "tests/test.py", "blueprints/a.json"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("")
    module("gather").gather(tmp_path / "gpu", tree, ())
    with tarfile.open(tmp_path / "gpu" / "ComfyUI.tar.gz") as archive:
        assert sorted(archive.getnames()) == ["ComfyUI/comfy/ops.py", "ComfyUI/main.py"]
    with tarfile.open(tmp_path / "gpu" / "package.tar.gz") as archive:
        names = set(archive.getnames())
    assert {
        "package/__init__.py",
        "package/benchmarks/gpu/check.py",
        "package/tests/support/fabricate/adapters.py",
    } <= names
    assert not any(name.startswith(("package/.host", "package/docs")) for name in names)
    script = (tmp_path / "gpu" / "run.sh").read_text()
    assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0


def test_the_command_has_a_name_for_every_row(comfy: None, check: Any) -> None:
    from comfyui_ip_adapter.benchmarks.gpu import rows

    assert list(rows.ROWS) == list(check.NAMES)


@pytest.mark.parametrize(("state", "fails"), [("right", False), ("not checked", False), ("wrong", True)])
def test_the_command_fails_where_a_row_is_wrong(
    check: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    state: str,
    fails: bool,
) -> None:
    name = next(iter(check.NAMES))
    monkeypatch.setattr(check, "apart", lambda name: (state, "seen"))
    monkeypatch.setattr(sys, "argv", ["check.py", name, "--report", str(tmp_path / "report.md")])
    if fails:
        with pytest.raises(SystemExit, match=name):
            check.main()
    else:
        check.main()
    assert f"| {name} | {state} | seen |" in capsys.readouterr().out
    assert f"| {name} | {state} | seen |" in (tmp_path / "report.md").read_text()


@pytest.mark.usefixtures("comfy")
def test_a_form_that_is_too_coarse_makes_its_row_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    from comfyui_ip_adapter.benchmarks.gpu import rows

    monkeypatch.setitem(rows.FORM_OF, "cpu", rows.FORM_OF["cpu"])  # to be put back
    assert rows.look("forms in fp16 and bf16")[0] == "right"
    monkeypatch.setattr(rows, "add_grouped_", lambda attended, *rest: (attended * 1.01).clone())
    state, seen = rows.look("forms in fp16 and bf16")
    assert state == "wrong" and "times those of an attention for each prompt" in seen


@pytest.mark.usefixtures("comfy")
def test_without_a_card_a_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from comfyui_ip_adapter.benchmarks.gpu import rows

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert rows.look("fused kernel") == ("not checked", "no CUDA device")
