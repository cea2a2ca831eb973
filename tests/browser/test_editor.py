"""What a user of the graph editor meets: templates, runs with previews, help pages, and errors on the right node."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser.editor import Editor
from fabricate.towers import TINY, tiny_tower
from live.needed_files import without
from live.published import PLUS
from live.server import Server
from live.titles import titled
from live.ui_graphs import TWIN, named, place, read, to_prompt, workflows, working
from old_files import Described, saved

PACK = "comfyui-ip-adapter"
OTHER_ADAPTER = "file => { app.graph.nodes.find(node => node.type == 'IPA_LoadAdapter').widgets[0].value = file }"
KEPT = ("id", "type", "pos", "widgets_values")  # newer editors leave out the values of a node that has none
SMALL = {"width": 64, "height": 64, "steps": 2, "megapixels": 0.01}

each_workflow = pytest.mark.parametrize("path", workflows(), ids=named)


def of_type(editor: Editor, node_type: str) -> dict[str, Any]:
    """What the only node of a type shows."""
    (node,) = (node for node in editor.nodes().values() if node["type"] == node_type)
    return node


@pytest.fixture
def templates(editor: Editor) -> Iterator[Editor]:
    """The editor with our page of the template browser open."""
    editor.open_templates(PACK)
    yield editor
    editor.page.keyboard.press("Escape")


@pytest.fixture
def other_encoder(server: Server) -> Iterator[str]:
    """An encoder that fits none of the adapters."""
    path = server.base / "models" / "clip_vision" / "other.safetensors"
    tiny_tower(path, size=TINY._replace(width=96, inner=384, embed_dim=48))
    yield path.name
    path.unlink()
    path.with_suffix(".json").unlink()


def test_the_template_browser_lists_our_graphs(templates: Editor) -> None:
    for path in workflows():
        templates.template(path.stem).wait_for(timeout=20_000)


def test_the_template_browser_shows_our_graphs_in_their_order(templates: Editor) -> None:
    assert templates.templates()[:4] == sorted(path.stem for path in workflows())[:4]


@pytest.mark.parametrize(
    ("name", "showing"), [("text_to_image_with_image_prompt", "IPA_Encode"), ("image_prompt_in_one_node", "IPA_Simple")]
)
def test_a_template_opens_runs_and_shows_what_the_encoder_saw(templates: Editor, name: str, showing: str) -> None:
    templates.template(titled(name)).click()
    templates.wait_for_node(showing)
    templates.set_widgets(SMALL)
    assert templates.run() == {}
    assert not [node for node in templates.nodes().values() if node["errors"]]
    assert of_type(templates, "SaveImage")["pictures"] == 1
    assert of_type(templates, showing)["pictures"] == 1


@each_workflow
def test_the_editor_sends_what_the_converter_says(editor: Editor, server: Server, path: Path) -> None:
    editor.load(read(path))
    sent = {node_id: {key: node[key] for key in ("class_type", "inputs")} for node_id, node in editor.prompt().items()}
    expected = to_prompt(without(read(path)), server.object_info())
    assert {node_id: sent[node_id] for node_id in sent if node_id in expected} == expected


@each_workflow
def test_the_editor_keeps_the_graph_as_it_is(editor: Editor, path: Path) -> None:
    graph = read(path)
    editor.load(graph)
    kept = editor.page.evaluate("() => app.graph.serialize()")
    for node, again in zip(working(without(graph)), working(without(kept)), strict=True):
        assert [node.get(key, []) for key in KEPT] == [again.get(key, []) for key in KEPT]


def test_a_loader_says_on_itself_what_its_file_is(editor: Editor) -> None:
    editor.load(read(place("text_to_image_with_image_prompt")))
    editor.set_widgets(SMALL)
    editor.page.evaluate(OTHER_ADAPTER, PLUS)  # one that no earlier run has in the cache
    assert editor.run() == {}
    assert of_type(editor, "IPA_LoadAdapter")["texts"][-1].startswith("plus, a model of its own kind (16 layers")
    saved = editor.page.evaluate("() => app.graph.serialize()")
    (loader,) = (node for node in saved["nodes"] if node["type"] == "IPA_LoadAdapter")
    assert loader["widgets_values"] == [PLUS, "auto"]


@pytest.mark.parametrize(
    ("graph", "node_type"),
    [
        ("layer_weights", "IPA_LayerWeights"),
        ("weight_schedule", "IPA_Schedule"),
        ("animation", "IPA_Transition"),
        ("noise_as_negative", "IPA_Noise"),
        ("prepared_reference", "IPA_Prepare"),
    ],
)
def test_a_node_shows_what_its_setting_does(editor: Editor, graph: str, node_type: str) -> None:
    editor.load(read(place(TWIN + graph)))
    assert of_type(editor, node_type)["pictures"] == 0
    assert editor.run() == {}
    assert of_type(editor, node_type)["pictures"] == 1


def test_a_wrong_encoder_is_told_on_the_node_that_met_it(editor: Editor, other_encoder: str) -> None:
    graph = read(place("text_to_image_with_image_prompt"))
    editor.load(graph)
    editor.set_widgets(SMALL)
    editor.page.evaluate(
        "file => { app.graph.nodes.find(node => node.type == 'IPA_LoadVision').widgets[0].value = file }", other_encoder
    )
    failure = editor.run()
    assert failure["node_type"] == "IPA_Encode"
    assert "encoder" in failure["exception_message"]
    assert editor.page.get_by_text("Encode Image Prompt failed").count()


def test_the_menu_converts_old_nodes_into_ours_in_a_tab_of_its_own(editor: Editor) -> None:
    loader = Described("IPAdapterModelLoader", {"ipadapter_file": PLUS})
    editor.load(saved({1: loader, 2: Described("IPAdapterTiled"), 4: loader}))
    open_tabs = editor.page.evaluate("() => app.extensionManager.workflow.openWorkflows.length")
    editor.page.evaluate("() => app.extensionManager.command.execute('comfyui-ip-adapter.convert')")
    editor.page.wait_for_function("() => app.graph.nodes.some(node => node.type == 'IPA_LoadAdapter')")
    kinds = sorted(node["type"] for node in editor.nodes().values())
    assert kinds == ["IPA_LoadAdapter", "IPA_LoadAdapter", "IPAdapterTiled"]
    assert editor.page.evaluate("() => app.extensionManager.workflow.openWorkflows.length") == open_tabs + 1
    editor.page.get_by_text("2 of 3 IPAdapter Plus nodes converted").first.wait_for(timeout=10_000)
