"""The command reports, and writes only where it is asked to."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from comfyui_ip_adapter.ip_adapter_core.compat.signatures import OTHER_SHAPES, SIGNATURES
from comfyui_ip_adapter.ip_adapter_core.migrate.command import main
from old_files import Described, prompt, types
from package import ROOT

LOADER = prompt({1: Described("IPAdapterModelLoader", {"ipadapter_file": "ä.bin"})})
TILED = prompt({1: Described("IPAdapterTiled")})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A graph with a node that becomes ours."""
    path = tmp_path / "graphs" / "a.json"
    path.parent.mkdir()
    path.write_text(json.dumps(LOADER))
    return path


def test_without_a_place_to_write_it_only_reports(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_bytes()
    assert main([str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{file}: 1 of 1 IPAdapter Plus nodes converted, 0 stay as they are.",
        "  IPAdapter Model Loader (node 1): Load IP-Adapter.",
    ]
    assert file.read_bytes() == before and list(file.parent.iterdir()) == [file]


def test_a_new_file_is_written_and_nothing_is_overwritten(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.parent / "b.json"
    assert main([str(file), "-o", str(out)]) == 0
    assert types(json.loads(out.read_text(encoding="utf-8"))) == {"IPA_LoadAdapter": 1}
    assert main([str(file), "-o", str(out)]) == 1
    assert f"{out} exists already" in capsys.readouterr().out
    assert main([str(file), "-o", str(file)]) == 1
    assert json.loads(file.read_text()) == LOADER


def test_in_place_what_the_file_was_is_kept_beside_it_and_never_overwritten(file: Path) -> None:
    before = file.read_bytes()
    assert main([str(file), "--in-place"]) == 0
    kept = file.with_name("a.before-migration.json")
    assert kept.read_bytes() == before and file.read_bytes() != before
    after = file.read_bytes()
    assert main([str(file.parent), "--in-place"]) == 0
    assert file.read_bytes() == after and kept.read_bytes() == before
    file.write_bytes(before)
    assert main([str(file), "--in-place"]) == 1
    assert file.read_bytes() == before


def test_a_folder_is_written_to_another_one_and_other_files_are_passed_over(file: Path, tmp_path: Path) -> None:
    (file.parent / "deep").mkdir()
    (file.parent / "deep" / "b.json").write_text(json.dumps(LOADER))
    (file.parent / "stays.json").write_text(json.dumps(TILED))
    (file.parent / "other.json").write_text("[1, 2]")
    assert main([str(file.parent), "-o", str(tmp_path / "out")]) == 1
    written = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.json"))
    assert written == [Path("a.json"), Path("deep/b.json")]


def test_wrong_words_and_files_are_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("{")
    assert main([str(file)]) == 1
    assert str(file) in capsys.readouterr().out
    for words in ([], [str(file), "-o", "x", "--in-place"], [str(file), str(file), "-o", "x"]):
        with pytest.raises(SystemExit):
            main(words)


def test_the_list_names_every_old_node_and_starts_without_comfyui() -> None:
    command = [sys.executable, "-m", "ip_adapter_core.migrate", "--list"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.split(": ")[0] for line in ran.stdout.splitlines()] == [*SIGNATURES, *OTHER_SHAPES]


@pytest.mark.parametrize(
    "odd",
    [
        {"nodes": [{"id": 1, "type": "IPAdapter"}], "links": [[1]]},
        {"nodes": [{"id": 1, "type": "IPAdapterModelLoader", "flags": 5}], "links": []},
        {"nodes": [{"id": 1, "type": "IPAdapterModelLoader", "properties": {"proxyWidgets": 5}}], "links": []},
        {"1": {"class_type": "IPAdapterModelLoader", "inputs": [1]}},
    ],
)
def test_a_file_that_cannot_be_read_is_said_and_the_next_is_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], odd: dict[str, Any]
) -> None:
    (tmp_path / "a.json").write_text(json.dumps(odd))
    (tmp_path / "b.JSON").write_text(json.dumps(LOADER))
    (tmp_path / "c.json").write_bytes(b"\x89PNG")
    main([str(tmp_path)])
    said = capsys.readouterr().out
    assert "b.JSON: 1 of 1" in said
    assert "c.json: Give a graph that the editor saved, or a prompt for the API: this is no JSON." in said


def test_one_file_goes_into_a_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(LOADER))
    (tmp_path / "new").mkdir()
    assert main([str(tmp_path / "a.json"), "-o", str(tmp_path / "new")]) == 0
    assert "IPA_LoadAdapter" in (tmp_path / "new" / "a.json").read_text()
