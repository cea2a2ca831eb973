"""Opened with nothing installed, a template makes the editor's dialog of missing models list every file it needs.

The dialog lists what a menu of an active node names and does not offer, if the name ends as model files do; where it
lies and where it comes from it takes from `properties.models` of a node that has the name among its values. It
downloads from a few hosts, and a few sorts of files (frontend 1.47, missingModelScan and missingModelDownload).
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from live.needed_files import PACKS, TITLE, complete, only_names, without
from live.ui_graphs import NOTES, named, originals, read

LISTED = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".sft", ".onnx", ".gguf")
DOWNLOADED = (".safetensors", ".sft", ".ckpt", ".pth", ".pt")
HOSTS = ("https://civitai.com/", "https://civitai.red/", "https://huggingface.co/")
INACTIVE = (2, 4)  # muted, bypassed

FINDERS = ("IPA_Simple", "IPA_StyleComposition", "IPA_AutoLoad")
LOADERS = ("IPA_LoadAdapter", "IPA_LoadVision")

each_template = pytest.mark.parametrize("path", originals(), ids=named)


def listed(graph: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What the dialog lists, by name: what it knows of it."""
    active = [node for node in graph["nodes"] if node["mode"] not in INACTIVE and node["type"] not in NOTES]
    names = [(node, value) for node in active for value in node.get("widgets_values", []) if is_model(value)]
    known = {
        model["name"]: model
        for node, value in names
        for model in node["properties"].get("models", [])
        if model["name"] == value
    }
    return {value: known.get(value, {}) for _, value in names}


def is_model(value: Any) -> bool:
    return isinstance(value, str) and value.endswith(LISTED)


def types(graph: dict[str, Any]) -> set[str]:
    return {node["type"] for node in graph["nodes"] if not only_names(node)}


def folders(graph: dict[str, Any]) -> set[str]:
    return {model["directory"] for model in listed(graph).values()}


@each_template
def test_every_file_is_listed_with_its_folder_and_its_address(path: Path) -> None:
    found = listed(read(path))
    assert found
    for name, model in found.items():
        assert model.keys() == {"name", "url", "directory"}, f"Say where {name} comes from in {path.name}."


@each_template
def test_a_list_of_files_that_the_dialog_would_not_look_at_is_nowhere(path: Path) -> None:
    for node in read(path)["nodes"]:
        unseen = {model["name"] for model in node["properties"].get("models", [])} - set(node["widgets_values"])
        assert not unseen, f"{node['type']} of {path.name} has no menu that names {unseen}."


@each_template
def test_what_our_nodes_need_is_listed(path: Path) -> None:
    graph = read(path)
    ours, directories = types(graph), folders(graph)
    if ours & {*FINDERS, "IPA_LoadAdapter"}:
        assert "ipadapter" in directories
    if ours & {*FINDERS, "IPA_LoadVision"}:
        assert "clip_vision" in directories
    if "IPA_Face" in ours:
        (pack,) = {node["widgets_values"][0] for node in without(graph)["nodes"] if node["type"] == "IPA_Face"}
        assert {file.file for file in PACKS[pack]} <= listed(graph).keys()
        assert "insightface" in directories
    if "CheckpointLoaderSimple" in ours:
        assert "checkpoints" in directories


@each_template
def test_what_the_dialog_cannot_download_is_named_in_bold_in_the_note(path: Path) -> None:
    graph = read(path)
    note = "\n".join(text for node in graph["nodes"] if node["type"] in NOTES for text in node["widgets_values"])
    for model in listed(graph).values():
        if model["name"].endswith(DOWNLOADED) and model["url"].startswith(HOSTS):
            continue
        folder = "/".join(["models", model["directory"], *model["name"].split("/")[:-1]])
        bold = rf"\*\*\[{re.escape(model['name'].split('/')[-1])}\]\({re.escape(model['url'])}\)\*\*"
        assert re.search(bold, note), f"Name {model['name']} with its address in bold in the note of {path.name}."
        assert f"`{folder}`" in note, f"Name {folder} in the note of {path.name}."


@each_template
def test_nodes_that_only_name_files_are_those_that_the_generator_writes(path: Path) -> None:
    assert read(path) == complete(read(path)), "Run make layout."
    assert json.dumps(complete(without(read(path)))) == json.dumps(complete(read(path)))


def test_nodes_that_only_name_files_are_small_connected_to_nothing_and_say_the_folder() -> None:
    naming = [node for path in originals() for node in read(path)["nodes"] if only_names(node)]
    assert {node["type"] for node in naming} == {*LOADERS, "IPA_Face"}
    for node in naming:
        (model,) = node["properties"]["models"]
        assert node["title"] == f"{TITLE}{model['name']} in models/{model['directory']}"
        assert node["flags"] == {"collapsed": True}
        assert not any(socket["link"] for socket in node["inputs"])
        assert not any(socket["links"] for socket in node["outputs"])
