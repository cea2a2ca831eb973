"""Blueprints in the editor: found by the node search, opened, and expanded to what was drawn."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser.editor import Editor
from live.blueprint_graphs import drawn, in_editor
from live.blueprint_table import BLUEPRINTS
from live.blueprints import files
from live.ui_graphs import read

SHOWN = """type => { const node = app.graph.nodes.find(node => node.type == type);
    return [node.inputs.map(input => input.name), node.widgets.map(widget => [widget.name, widget.value])]; }"""
SET = """([type, name, value]) => { const node = app.graph.nodes.find(node => node.type == type);
    node.widgets.find(widget => widget.name == name).value = value; }"""

each = pytest.mark.parametrize(("name", "path"), files(), ids=BLUEPRINTS)


@pytest.fixture(scope="module")
def described(editor: Editor) -> dict[str, Any]:
    """What the server knows of every node type."""
    return editor.server.object_info()


@pytest.mark.parametrize("query", ["ip-adapter", "Image prompt", "Two subjects"])
def test_the_node_search_finds_blueprints(editor: Editor, query: str) -> None:
    assert any(node["display_name"] in BLUEPRINTS for node in editor.search(query))


@each
def test_a_blueprint_runs_as_the_graph_that_was_drawn(
    editor: Editor, described: dict[str, Any], name: str, path: Path
) -> None:
    editor.load(in_editor(name, read(path), described), name)
    expected = drawn(name, described)
    sent = editor.prompt()
    assert parts(sent) == parts(expected)
    assert np.array_equal(pictures(editor, sent), pictures(editor, expected))


@each
def test_its_settings_are_on_the_node(editor: Editor, described: dict[str, Any], name: str, path: Path) -> None:
    blueprint = read(path)
    type_ = blueprint["nodes"][0]["type"]
    editor.load(in_editor(name, blueprint, described), f"settings {name}")
    inputs, widgets = editor.page.evaluate(SHOWN, type_)
    assert inputs[: len(BLUEPRINTS[name].inputs)] == list(BLUEPRINTS[name].inputs)
    settings = [setting for setting, *_ in BLUEPRINTS[name].settings]
    assert [widget for widget, _ in widgets] == settings
    weight = next(setting for setting in settings if "weight" in setting)
    editor.page.evaluate(SET, [type_, weight, 0.35])
    assert 0.35 in [value for node in editor.prompt().values() for value in node["inputs"].values()]


def pictures(editor: Editor, prompt: dict[str, Any]) -> np.ndarray:
    """What a prompt saves, (pictures, height, width, 3)."""
    (saver,) = (id for id, node in prompt.items() if node["class_type"] == "SaveImage")
    return np.stack(editor.server.run(prompt).images(saver))


def parts(prompt: dict[str, Any]) -> list[str]:
    """Nodes with the values set on them, in any order; names under which pictures are saved aside."""
    return sorted(f"{node['class_type']} {sorted(values(node))}" for node in prompt.values())


def values(node: dict[str, Any]) -> Iterator[str]:
    """What is set on a node; for the editor 1 is 1.0."""
    for key, value in node["inputs"].items():
        if key != "filename_prefix" and not isinstance(value, list):
            yield f"{key}={float(value) if type(value) is int else value}"
