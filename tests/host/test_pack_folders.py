"""Adapters in the folders of other packs are offered too, once each."""

from pathlib import Path

import pytest

from fabricate.adapters import KINDS, tiny_adapter
from foreign_shapes import REFUSED, write_header

pytestmark = pytest.mark.usefixtures("comfy")

REFUSED_FILE = "instantcharacter_ip-adapter"
OF_PACKS = ["instantid/SDXL/ip-adapter.bin", f"ipadapter-flux/{REFUSED_FILE}.safetensors"]


@pytest.fixture
def models(model_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's models, with an adapter of its own, InstantID's and one that does not run."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "models_dir", str(model_folders))
    tiny_adapter(model_folders / "ipadapter" / "own.safetensors")
    tiny_adapter(model_folders / "instantid" / "SDXL" / "ip-adapter.bin", **KINDS["portrait unnorm"])
    (model_folders / "instantid" / "notes.txt").write_text("no weights")
    (model_folders / "ipadapter-flux").mkdir()
    write_header(model_folders / "ipadapter-flux", REFUSED_FILE)
    return model_folders


def test_no_folder_lies_in_another() -> None:
    from comfyui_ip_adapter.nodes.host.pack_folders import PACK_FOLDERS

    names = [Path(row.name) for row in PACK_FOLDERS]
    assert not [(one, other) for one in names for other in names if one != other and one.is_relative_to(other)]


def test_files_of_other_packs_stand_last_in_the_menu(models: Path) -> None:
    from comfyui_ip_adapter.nodes.host import files

    assert files.names(files.ADAPTERS) == ["own.safetensors", *OF_PACKS]
    assert not [name for name in files.names(files.ENCODERS) if name.startswith(("instantid", "ipadapter-flux"))]


def test_one_that_runs_is_loaded(models: Path) -> None:
    from comfyui_ip_adapter.nodes.host import adapters, old_names

    assert adapters.load(OF_PACKS[0]).identity.variant.name == "portrait unnorm"
    for name in ("SDXL\\ip-adapter.bin", "ip-adapter.bin"):
        assert old_names.find("ipadapter", name).name == OF_PACKS[0]


def test_one_that_does_not_run_is_told_as_what_it_is(models: Path) -> None:
    from comfyui_ip_adapter.nodes.host import files

    _, _, what, use = REFUSED[REFUSED_FILE]
    (line,) = [line for line in files.listing(files.ADAPTERS) if line.startswith("ipadapter-flux")]
    assert line.startswith(f"{OF_PACKS[1]} cannot be used. Choose another file, or use this one with")
    assert use in line
    assert f"it is {what} (" in line
    assert list(files.adapters()) == ["own.safetensors", OF_PACKS[0]]


def test_a_folder_that_is_listed_anyway_is_not_named_twice(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    from comfyui_ip_adapter.nodes.host import files

    paths = [str(models / "ipadapter"), str(models / "instantid")]
    entry = (paths, folder_paths.supported_pt_extensions)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "ipadapter", entry)
    assert files.names(files.ADAPTERS) == [str(Path("SDXL") / "ip-adapter.bin"), "own.safetensors", OF_PACKS[1]]


def test_the_users_extra_paths_count_and_each_file_once(
    models: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths

    from comfyui_ip_adapter.nodes.host import files

    elsewhere = tmp_path_factory.mktemp("elsewhere")
    tiny_adapter(elsewhere / "mine.safetensors")
    paths = [str(models / "instantid"), str(elsewhere)]
    entry = (paths, folder_paths.supported_pt_extensions)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "instantid", entry)
    names = files.names(files.ADAPTERS)
    assert names == ["own.safetensors", OF_PACKS[0], "instantid/mine.safetensors", OF_PACKS[1]]
    assert files.path(files.ADAPTERS, "instantid/mine.safetensors") == str(elsewhere / "mine.safetensors")


def test_a_changed_file_has_another_fingerprint(models: Path) -> None:
    from comfyui_ip_adapter.nodes.host import files

    before = files.fingerprint(files.ADAPTERS, OF_PACKS[0])
    tiny_adapter(models / OF_PACKS[0])
    assert files.fingerprint(files.ADAPTERS, OF_PACKS[0]) != before
