"""The demo's files stay out of the host's lists until a graph names them or the user wants them there."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from package import ROOT

pytestmark = pytest.mark.usefixtures("comfy")

DEMO = "small_world.safetensors"


@pytest.fixture
def lists(comfy: None) -> Iterator[Any]:
    """The host's folders; what a test adds is taken away again."""
    import folder_paths

    before = {kind: (list(paths), set(ends)) for kind, (paths, ends) in folder_paths.folder_names_and_paths.items()}
    yield folder_paths
    folder_paths.folder_names_and_paths.update(before)
    folder_paths.filename_list_cache.clear()


def graph(name: str) -> dict[str, Any]:
    """A graph of the editor with the loader in a subgraph, behind nodes without values."""
    inner = {"nodes": [{"type": "Note"}, {"type": "CheckpointLoaderSimple", "widgets_values": [name, None, 3]}]}
    return {"nodes": [], "definitions": {"subgraphs": [inner]}}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"prompt": {"1": {"class_type": "X", "inputs": {"ckpt_name": DEMO}}}}, True),
        (graph(DEMO), True),
        (graph("other.safetensors"), False),
        (graph(f"folder/{DEMO}"), False),
        ({DEMO: 1}, False),
        ([[[DEMO]]], True),
        (None, False),
    ],
)
def test_the_files_are_shown_when_a_value_is_the_name_of_one(lists: Any, given: Any, named: bool) -> None:
    from comfyui_ip_adapter.nodes.host import demo_files

    assert DEMO not in lists.get_filename_list("checkpoints")
    assert demo_files.show_named(given) is named
    assert (DEMO in lists.get_filename_list("checkpoints")) is named


def test_a_deep_graph_is_no_trouble(lists: Any) -> None:
    from comfyui_ip_adapter.nodes.host import demo_files

    deep: Any = DEMO
    for _ in range(100_000):
        deep = [deep]
    assert demo_files.show_named(deep)


def test_the_editor_has_the_same_names() -> None:
    from comfyui_ip_adapter.nodes.host import demo_files

    script = (ROOT / "web" / "demo_files.js").read_text(encoding="utf-8")
    for part in ('const DEMO = "small_world";', f'"{demo_files.ROUTE}"', '"IPAdapter.demo_models"', '"always"]'):
        assert part in script
    assert len(demo_files.names()) >= 3
    assert all(name.startswith("small_world") for name in demo_files.names())


@pytest.mark.parametrize(("chosen", "listed"), [("always", True), ("when a graph uses them", False), (None, False)])
def test_the_setting_shows_them_from_the_start(
    lists: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None, listed: bool
) -> None:
    from comfyui_ip_adapter.nodes.host import demo_files

    (tmp_path / "default").mkdir()
    settings = json.dumps({"IPAdapter.demo_models": chosen})
    (tmp_path / "default" / "comfy.settings.json").write_text(settings, encoding="utf-8")
    monkeypatch.setattr(lists, "get_user_directory", lambda: str(tmp_path))
    monkeypatch.setattr(demo_files, "PromptServer", SimpleNamespace())
    demo_files.register()
    assert (DEMO in lists.get_filename_list("checkpoints")) is listed
