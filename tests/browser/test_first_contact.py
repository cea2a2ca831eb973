"""What a newcomer is told in the editor: which files a template needs, and what to do about an error."""

from itertools import count
from typing import Any

import pytest

from browser.editor import Editor
from live.ui_graphs import place, read

MISSING = """() => document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia._s.get('missingModel')
    .missingModelCandidates?.map(({name, directory, url}) => ({name, directory, url})) ?? null"""

TOAST = ".p-toast-detail, [data-testid=toast-viewport]"  # of the editor that the newest host pins, and of later ones


def absent(graph: dict[str, Any]) -> dict[str, Any]:
    """The graph with a name that no file has for each of the files that it needs."""
    numbers = count(1)
    names = {model["name"]: model["name"] for node in graph["nodes"] for model in node["properties"].get("models", [])}
    names = {name: f"zz{next(numbers)}.{name.rpartition('.')[2]}" for name in names}
    for node in graph["nodes"]:
        node["widgets_values"] = [names.get(str(value), value) for value in node["widgets_values"]]
        for model in node["properties"].get("models", []):
            model["name"] = names[model["name"]]
    return graph


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("image_prompt_in_one_node", ["checkpoints", "clip_vision", "ipadapter"]),
        ("style_and_composition", ["checkpoints", "clip_vision", "ipadapter"]),
        ("faceid", ["checkpoints", "insightface", "insightface", "ipadapter"]),
        ("text_to_image_with_image_prompt", ["checkpoints", "clip_vision", "ipadapter"]),
    ],
)
def test_a_template_without_its_files_makes_the_editor_list_them_with_folder_and_address(
    editor: Editor, name: str, folders: list[str]
) -> None:
    editor.load(absent(read(place(name))), f"absent {name}")
    editor.page.wait_for_function(f"() => ({MISSING})()?.length", timeout=60_000)
    missing = {model["name"]: model for model in editor.page.evaluate(MISSING)}
    assert sorted(model["directory"] for model in missing.values()) == folders
    assert all(model["url"].startswith("https://") for model in missing.values())


def test_an_error_of_our_nodes_shows_first_what_to_do(editor: Editor) -> None:
    graph = read(place("image_prompt_in_one_node"))
    editor.load(graph, "kind of faces")
    editor.set_widgets({"width": 64, "height": 64, "steps": 1, "kind": "FaceID"})
    failure = editor.run()
    assert failure["node_type"] == "IPA_Simple"
    toast = editor.page.locator(TOAST, has_text="Use Face Embedding and Encode Face Prompt")
    toast.first.wait_for(timeout=20_000)
