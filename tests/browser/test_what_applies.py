"""Nodes show what counts with the choice in their menu and nothing else, in both canvases; values keep their places."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from playwright.sync_api import Browser

from browser.editor import Editor
from comfyui_ip_adapter.ip_adapter_core.faces.detection import CHOICES, DetectedFaces
from comfyui_ip_adapter.ip_adapter_core.layers.families import CONFIGS
from comfyui_ip_adapter.ip_adapter_core.layers.layout import layers
from comfyui_ip_adapter.ip_adapter_core.settings.curves import SHAPES, Curve
from comfyui_ip_adapter.ip_adapter_core.settings.layer_weights import TYPES, from_weight_type
from comfyui_ip_adapter.ip_adapter_core.settings.weight_list import CUSTOM, custom
from live.server import Server

Values = dict[str, Any]

ROWS = "async () => (await import('/extensions/comfyui-ip-adapter/what_applies.js')).ROWS"
CHOOSE = """([type, menu, choice]) => { const widget = app.graph.nodes.find(node => node.type == type)
    .widgets.find(widget => widget.name == menu); widget.value = choice; widget.callback?.(choice); }"""
SHOWN = """([type, names]) => {
    const node = app.graph.nodes.find(node => node.type == type);
    const rows = [...document.querySelectorAll(`[data-node-id="${node.id}"] .lg-node-widget`)];
    const isDrawn = name => rows.some(row => row.offsetHeight && row.innerText.trim().split('\\n')[0] == name);
    const isOnCanvas = widget => node.isWidgetVisible(widget) && (!widget.element || widget.element.offsetHeight > 0);
    return names.filter(name => LiteGraph.vueNodesMode
        ? isDrawn(name) : isOnCanvas(node.widgets.find(widget => widget.name == name)));
}"""
HEIGHTS = """type => { const node = app.graph.nodes.find(node => node.type == type);
    return [node.size[1], node.computeSize()[1]]; }"""
LINK_MENU = """([type, menu]) => {
    const node = app.graph.nodes.find(node => node.type == type);
    const source = LiteGraph.createNode('PrimitiveNode');
    app.graph.add(source);
    source.connect(0, node, node.inputs.findIndex(input => input.widget?.name == menu));
}"""
UNLINK = "() => app.graph.remove(app.graph.nodes.find(node => node.type == 'PrimitiveNode'))"
SAVED = "type => app.graph.serialize().nodes.find(node => node.type == type).widgets_values"


def curve(shape: str, given: Values) -> object:
    whole = Curve(
        shape,
        start=given["start_value"],
        end=given["end_value"],
        n=given["n"],
        points=given["points"],
        seed=given["random_seed"],
    )
    return [whole.value(step, 20) for step in range(20)]


def spread(weight_type: str, given: Values) -> object:
    weight, second = given["weight"], given["second_weight"]
    chosen = custom(given["custom"], weight) if weight_type == CUSTOM else from_weight_type(weight_type, weight, second)
    return chosen.per_layer(layers(CONFIGS["SDXL"]))


def faces(choice: str, given: Values) -> object:
    two = DetectedFaces(torch.tensor([[0.0, 0, 9, 9], [9, 0, 12, 3]]), torch.zeros(2, 5, 2), torch.tensor([0.9, 0.8]))
    return CHOICES[choice](two, given["index"]).boxes.tolist()


def tiled(detail: str, given: Values) -> object:
    return given["tiles"] if "tiles" in detail else None


class Case(NamedTuple):
    """A node whose menu says what else counts.

    menu: its name.
    choices: the words of the menu.
    read: a choice and the other values -> what the node makes of them.
    values: two for each other widget, between which a choice that reads it can tell.
    """

    menu: str
    choices: list[str]
    read: Callable[[str, Values], object]
    values: dict[str, tuple[Any, Any]]

    def counting(self) -> dict[str, list[str]]:
        """For each widget the choices that read it."""
        usual = {name: first for name, (first, _) in self.values.items()}
        return {
            name: [choice for choice in self.choices if self.tells(choice, usual, usual | {name: other})]
            for name, (_, other) in self.values.items()
        }

    def tells(self, choice: str, one: Values, other: Values) -> bool:
        """Whether the node makes something else of other values."""
        return self.read(choice, one) != self.read(choice, other)


NODES = {
    "IPA_Encode": Case("detail", ["whole", "tiles", "whole and tiles"], tiled, {"tiles": (2, 3)}),
    "IPA_Face": Case("faces", list(CHOICES), faces, {"index": (0, 1)}),
    "IPA_LayerWeights": Case(
        "weight_type",
        [*TYPES, CUSTOM],
        spread,
        {"weight": (1.0, 0.5), "second_weight": (1.0, 0.5), "custom": ("all = 1", "style = 1")},
    ),
    "IPA_Schedule": Case(
        "shape",
        list(SHAPES),
        curve,
        {
            "start_value": (1.0, 0.5),
            "end_value": (0.0, 0.25),
            "points": ("0:1, 10:0.5", "0:0"),
            "n": (10, 3),
            "random_seed": (0, 1),
        },
    ),
}


@pytest.fixture(scope="module", params=[False, True], ids=["classic canvas", "Nodes 2.0"])
def opened(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[Editor]:
    """The editor with one of the two canvases and a new node of each type."""
    editor = Editor(browser, server, nodes_2=request.param)
    editor.fresh(list(NODES))
    editor.show(editor.extent())
    yield editor
    editor.page.close()


def choose(editor: Editor, node: str, choice: str) -> None:
    editor.page.evaluate(CHOOSE, [node, NODES[node].menu, choice])


def shown(editor: Editor, node: str) -> list[str]:
    """Those of its widgets that one sees."""
    editor.settle(100)
    return list(editor.page.evaluate(SHOWN, [node, list(NODES[node].values)]))


def test_the_table_says_what_each_choice_reads(opened: Editor) -> None:
    table = {row["node"]: (row["menu"], row["widgets"]) for row in opened.page.evaluate(ROWS)}
    assert table.keys() == NODES.keys()
    described = opened.server.object_info()
    for node, case in NODES.items():
        menu, widgets = table[node]
        of_menu = described[node]["input"]
        kind, about = (of_menu["required"] | of_menu.get("optional", {}))[menu]
        assert (menu, about["options"] if kind == "COMBO" else kind) == (case.menu, case.choices)
        counting = {name: widgets.get(name, case.choices) for name in case.values}
        assert {name: set(choices) for name, choices in counting.items()} == {
            name: set(choices) for name, choices in case.counting().items()
        }
        assert widgets.keys() <= case.values.keys()


@pytest.mark.parametrize("node", NODES)
def test_a_node_shows_what_counts_with_each_choice_and_nothing_else(opened: Editor, node: str) -> None:
    counting = NODES[node].counting()
    for choice in NODES[node].choices:
        choose(opened, node, choice)
        assert shown(opened, node) == [name for name in counting if choice in counting[name]], choice


@pytest.mark.parametrize("node", NODES)
def test_its_height_follows_and_comes_back(opened: Editor, node: str) -> None:
    first, *others = NODES[node].choices
    choose(opened, node, first)
    height, needed = opened.page.evaluate(HEIGHTS, node)
    for choice in [*others, *others[::-1]]:
        choose(opened, node, choice)
        now, needs = opened.page.evaluate(HEIGHTS, node)
        assert now - height == pytest.approx(needs - needed, abs=1), choice
    choose(opened, node, first)
    assert opened.page.evaluate(HEIGHTS, node) == pytest.approx([height, needed], abs=1)


@pytest.mark.parametrize("node", NODES)
def test_a_menu_with_a_link_shows_all(opened: Editor, node: str) -> None:
    case = NODES[node]
    opened.page.evaluate(LINK_MENU, [node, case.menu])
    assert shown(opened, node) == list(case.values)
    opened.page.evaluate(UNLINK)
    assert shown(opened, node) != list(case.values)


@pytest.mark.parametrize("node", NODES)
def test_what_is_hidden_keeps_its_value_and_is_saved_in_its_place(opened: Editor, node: str) -> None:
    case = NODES[node]
    opened.set_widgets({name: other for name, (_, other) in case.values.items()})
    saved = []
    for choice in case.choices:
        choose(opened, node, choice)
        values = opened.page.evaluate(SAVED, node)
        assert values.count(choice) == 1
        saved.append([value for value in values if value != choice])
    assert saved == [saved[0]] * len(saved)
    assert all(other in saved[0] for _, other in case.values.values())


def test_a_graph_opens_with_what_counts_in_it(opened: Editor) -> None:
    for node, case in NODES.items():
        choose(opened, node, case.choices[-1])
    graph = opened.page.evaluate("() => app.graph.serialize()")
    before = {node: (shown(opened, node), opened.page.evaluate(HEIGHTS, node)) for node in NODES}
    for node, case in NODES.items():
        choose(opened, node, case.choices[0])
    opened.load(graph, "what applies")
    opened.show(opened.extent())
    assert {node: (shown(opened, node), opened.page.evaluate(HEIGHTS, node)) for node in NODES} == before
