"""Points and bars moved with the mouse: the text is what changes, and what is saved, sent and run."""

from typing import Any

import pytest

from browser.editor import Editor
from live.graphs import Graph
from live.prompting import forget
from live.ui_graphs import as_saved

SCHEDULE = {"shape": "points", "start_value": 1.0, "end_value": 0.0, "unit": "steps", "points": "0:1, 10:0.5, 19:0"}
LAYERS = {"weight_type": "custom list", "weight": 1.0, "second_weight": 1.0}
LIST = "style = 1, composition = 0.3  # as it is"
MODES = {"classic canvas": False, "Nodes 2.0": True}
WIDGET = """([type, name]) => app.graph.nodes.find(node => node.type == type)
    .widgets.find(widget => widget.name == name).value"""
CHOOSE = """([type, name, value]) => { const widget = app.graph.nodes.find(node => node.type == type)
    .widgets.find(widget => widget.name == name); widget.value = value; widget.callback?.(value); }"""
PLACES = "() => Object.fromEntries(app.graph.nodes.map(node => [node.id, [...node.pos]]))"
LEAST_HEIGHT = "() => app.graph.nodes.find(node => node.type == 'IPA_Schedule').computeSize()[1]"
SAVED = "() => app.graph.serialize().nodes.map(node => [node.type, node.widgets_values])"


@pytest.fixture(scope="module", params=MODES.values(), ids=MODES.keys())
def opened(request: pytest.FixtureRequest, editor: Editor) -> Editor:
    """The editor in both of its modes with the two nodes, each with a picture to save."""
    editor.use(nodes_2=request.param)
    graph = Graph()
    for node, inputs in (("IPA_Schedule", SCHEDULE), ("IPA_LayerWeights", {**LAYERS, "custom": LIST})):
        graph.add("PreviewImage", images=graph.add(node, **inputs)[1])
    saved = as_saved(graph, editor.server.object_info())
    for number, node in enumerate(saved["nodes"]):
        node |= {"pos": [420 * number, 0], "size": [380, 420]}
    editor.load(saved, f"drag {request.param}")
    editor.show(editor.extent())
    return editor


def value(editor: Editor, node: str, name: str) -> Any:
    return editor.page.evaluate(WIDGET, [node, name])


def drag(editor: Editor, name: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press in an editor at a share of its width and height, and let go at another."""
    box = editor.page.locator(f'svg[data-editor="{name}"]').bounding_box()
    assert box
    mouse = editor.page.mouse
    mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
    mouse.down()
    mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"], steps=4)
    mouse.up()
    editor.settle(200)


def test_points_and_bars_change_the_text_and_the_graph_runs(opened: Editor) -> None:
    before = opened.page.evaluate(PLACES)
    drag(opened, "points", (0.5185, 0.5), (0.5185, 0.9))  # the point at step 10 of 19, half way up
    middle = value(opened, "IPA_Schedule", "points")
    assert middle == "0:1, 10:0, 19:0"
    drag(opened, "points", (0.27, 0.3), (0.27, 0.5))  # where no point is
    more = value(opened, "IPA_Schedule", "points")
    assert more.startswith("0:1, 10:0, 19:0, 5:0.")
    drag(opened, "custom", (0.5, 0.75), (0.99, 0.75))
    assert value(opened, "IPA_LayerWeights", "custom") == "style = 1, composition = 2  # as it is"
    assert opened.page.evaluate(PLACES) == before, "a node moved"
    sent = {node["class_type"]: node["inputs"] for node in opened.prompt().values()}
    assert sent["IPA_Schedule"]["points"] == more
    assert sent["IPA_LayerWeights"]["custom"] == "style = 1, composition = 2  # as it is"
    saved = dict(opened.page.evaluate(SAVED))
    assert more in saved["IPA_Schedule"]
    assert not [key for inputs in sent.values() for key in inputs if "mouse" in key]
    forget(opened.server)
    assert opened.server.run(opened.prompt()).outputs


def test_a_double_click_removes_and_a_menu_adds(opened: Editor) -> None:
    opened.page.evaluate(CHOOSE, ["IPA_LayerWeights", "custom", "style = 1, composition = 0.3"])
    opened.settle(300)
    opened.page.locator("select", has_text="add …").select_option("output.4")
    assert value(opened, "IPA_LayerWeights", "custom") == "style = 1, composition = 0.3, output.4 = 1"
    opened.settle(300)
    box = opened.page.locator('svg[data-editor="custom"]').bounding_box()
    assert box
    opened.page.mouse.dblclick(box["x"] + 10, box["y"] + box["height"] / 6)
    assert value(opened, "IPA_LayerWeights", "custom") == "composition = 0.3, output.4 = 1"


def test_they_are_there_only_where_they_count(opened: Editor) -> None:
    drawing = opened.page.locator('svg[data-editor="points"]')
    assert drawing.is_visible()
    height = opened.page.evaluate(LEAST_HEIGHT)
    opened.page.evaluate(CHOOSE, ["IPA_Schedule", "shape", "linear"])
    opened.settle(300)
    assert not drawing.is_visible()
    assert opened.page.evaluate(LEAST_HEIGHT) < height - 100
    opened.page.evaluate(CHOOSE, ["IPA_Schedule", "shape", "points"])
    opened.settle(300)
    assert drawing.is_visible()


def test_a_text_that_cannot_be_read_is_left_alone(opened: Editor) -> None:
    opened.page.evaluate(CHOOSE, ["IPA_LayerWeights", "custom", "style = much"])
    opened.settle(300)
    drag(opened, "custom", (0.5, 0.5), (0.9, 0.5))
    assert value(opened, "IPA_LayerWeights", "custom") == "style = much"
