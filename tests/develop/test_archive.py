"""The archive holds what runs and nothing else, and pyproject.toml says what the registry and ComfyUI read of it."""

import re
import zipfile
from pathlib import Path

import pytest

from develop import archive, bare, ready
from package import ROOT

FILES = archive.files()
NEEDED = ("__init__.py", "nodes/api.py", "pyproject.toml", "requirements.txt", "README.md", "LICENSE", "SECURITY.md")
NOT_NEEDED = ("tests/", "benchmarks/", ".ci/", ".github/", "Makefile", ".comfyignore")


def test_the_archive_holds_what_runs_and_nothing_of_the_development() -> None:
    assert set(NEEDED) <= set(FILES)
    assert not [name for name in FILES if name.startswith(NOT_NEEDED)]
    for folder, pattern in (
        ("nodes", "*.py"),
        ("ip_adapter_core", "*.py"),
        ("web", "*.js"),
        ("workflows", "*.json"),
        ("subgraphs", "*.json"),
    ):
        there = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob(pattern)}
        assert there <= set(FILES), folder


def test_the_pictures_and_pages_that_the_readme_shows_are_in_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = {link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", readme) if "://" not in link}
    folders = {name.partition("/")[0] for name in FILES}
    assert not sorted(linked - {""} - set(FILES) - folders)


def test_of_the_demo_models_the_archive_has_every_folder_that_comfyui_reads() -> None:
    folders = {name.split("/")[2] for name in FILES if name.startswith("models/small_world/") and name.count("/") > 2}
    assert {"checkpoints", "clip_vision", "controlnet", "ipadapter", "loras", "tokenizer"} <= folders
    assert not folders & {"ablation", "judge", "records"}


def test_the_files_are_those_that_the_registrys_own_reading_of_comfyignore_leaves() -> None:
    pathspec = pytest.importorskip("pathspec")
    lines = (ROOT / archive.IGNORED).read_text(encoding="utf-8").splitlines()
    ignored = pathspec.PathSpec.from_lines("gitignore", [line.strip() for line in lines if line.strip()])
    assert [name for name in sorted(archive.tracked()) if not ignored.match_file(name)] == FILES


def test_the_listing_has_every_file_with_its_size_and_the_sum(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as opened:
        opened.writestr("a.py", "x" * 1234)
        opened.writestr("web/b.js", "x" * 1000)
    text = archive.listing(tmp_path / "some.zip")
    for line in ("     1,234  a.py", "     1,000  web/ (1 files)", "2 files, 0.0 MB; 0.0 MB packed"):
        assert line in text


def test_the_name_is_one_of_the_registrys_and_the_dependencies_are_those_of_the_requirements() -> None:
    project = ready.settings()["project"]
    assert re.fullmatch(r"[a-z][a-z0-9]*([-_.][a-z0-9]+)*", project["name"])
    assert "comfyui" not in project["name"]
    assert len(project["name"]) < 100
    listed = [str(requirement) for requirement in bare.read(ROOT / "requirements.txt")]
    assert listed == project["dependencies"]


@pytest.mark.usefixtures("comfy")
def test_comfyui_reads_the_same_from_pyproject_as_stands_there() -> None:
    from comfy_config.config_parser import extract_node_configuration

    project, comfy = ready.settings()["project"], ready.settings()["tool"]["comfy"]
    read = extract_node_configuration(str(ROOT))
    assert read.project.name == project["name"]
    assert read.project.urls.repository == project["urls"]["Repository"]
    assert read.project.supported_comfyui_version == comfy["requires-comfyui"]
    assert len(read.project.supported_os) + len(read.project.supported_accelerators) == len(project["classifiers"])
    assert (read.tool_comfy.publisher_id, read.tool_comfy.icon) == (comfy["PublisherId"], comfy["Icon"])
    assert not read.tool_comfy.includes


def test_the_pictures_that_the_registry_shows_are_there() -> None:
    comfy = ready.settings()["tool"]["comfy"]
    for key in ("Icon", "Banner"):
        assert (ROOT / comfy[key].partition("/raw/main/")[2]).is_file()
        assert "raw.githubusercontent" not in comfy[key]
