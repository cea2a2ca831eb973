"""Nodes show what counts with the choice in their menu and nothing else, in both canvases; values keep their places."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
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
from comfyui_ip_adapter.ip_adapter_core.vision.borders import FILLINGS, Border
from comfyui_ip_adapter.ip_adapter_core.vision.colours import COLOURS, WRITTEN, colour_of
from comfyui_ip_adapter.ip_adapter_core.vision.cutout import Background
from comfyui_ip_adapter.ip_adapter_core.vision.prepare import CROPS, Square, square
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
TALL = torch.rand(1, 40, 30, 3, generator=torch.Generator().manual_seed(0))
SPOT = torch.zeros(1, 40, 30)
SPOT[:, 2:38, 6:20] = 1  # higher than the picture is wide
WIDE, SMALL_SPOT = TALL.movedim(1, 2), torch.zeros(1, 30, 40)
SMALL_SPOT[:, 10:16, 20:26] = 1
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


def cut(crop: str, given: Values) -> object:
    point, border = (given["point_x"], given["point_y"]), Border(given["border"])
    how = Square(crop, 24, point=point, border=border, margin=given["margin"])
    return [square(TALL, how, SPOT).tolist(), square(WIDE, how, SMALL_SPOT).tolist()]


def bordered(border: str, given: Values) -> object:
    made = Border(border) if border in FILLINGS else Border(colour=colour_of(border, given["colour"]))
    return square(TALL, Square("pad", 24, border=made)).tolist()


def cut_out(background: str, given: Values) -> object:
    how = Square("pad", 24)
    if background != "keep":
        colour = colour_of(background, given["colour"])
        how = how._replace(background=Background(colour, given["soft_edge"]))
    return square(TALL, how, SPOT).tolist()


class Case(NamedTuple):
    """A node whose menu says what else counts.

    node: its type.
    menu: its name.
    choices: the words of the menu.
    read: a choice and the other values -> what the node makes of them.
    values: two for each other widget, between which a choice that reads it can tell.
    beside: choices in other menus of the node, with which this one counts, and alone.
    """

    node: str
    menu: str
    choices: list[str]
    read: Callable[[str, Values], object]
    values: dict[str, tuple[Any, Any]]
    beside: Mapping[str, str] = MappingProxyType({})

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


CASES = {
    "IPA_Encode": Case("IPA_Encode", "detail", ["whole", "tiles", "whole and tiles"], tiled, {"tiles": (2, 3)}),
    "IPA_Face": Case("IPA_Face", "faces", list(CHOICES), faces, {"index": (0, 1)}),
    "IPA_LayerWeights": Case(
        "IPA_LayerWeights",
        "weight_type",
        [*TYPES, CUSTOM],
        spread,
        {"weight": (1.0, 0.5), "second_weight": (1.0, 0.5), "custom": ("all = 1", "style = 1")},
    ),
    "IPA_Prepare, crop": Case(
        "IPA_Prepare",
        "crop",
        list(CROPS),
        cut,
        {"point_x": (0.5, 0.1), "point_y": (0.5, 0.1), "margin": (10.0, 50.0), "border": ("mirrored", "blurred")},
        {"background": "keep"},
    ),
    "IPA_Prepare, border": Case(
        "IPA_Prepare",
        "border",
        [*COLOURS, WRITTEN, "mirrored", "blurred"],
        bordered,
        {"colour": ("#808080", "#ff0000")},
        {"crop": "pad", "background": "keep"},
    ),
    "IPA_Prepare, background": Case(
        "IPA_Prepare",
        "background",
        ["keep", *COLOURS, WRITTEN],
        cut_out,
        {"soft_edge": (2.0, 9.0), "colour": ("#808080", "#ff0000")},
        {"crop": "pad", "border": "mirrored"},
    ),
    "IPA_Schedule": Case(
        "IPA_Schedule",
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
    editor.fresh(list(dict.fromkeys(case.node for case in CASES.values())))
    editor.show(editor.extent())
    yield editor
    editor.page.close()


def choose(editor: Editor, case: Case, choice: str) -> None:
    for menu, word in {**case.beside, case.menu: choice}.items():
        editor.page.evaluate(CHOOSE, [case.node, menu, word])


def shown(editor: Editor, case: Case) -> list[str]:
    """Those of its widgets that one sees."""
    editor.settle(100)
    return list(editor.page.evaluate(SHOWN, [case.node, list(case.values)]))


def test_the_table_says_what_each_choice_reads(opened: Editor) -> None:
    table = {(row["node"], row["menu"]): row["widgets"] for row in opened.page.evaluate(ROWS)}
    assert table.keys() == {(case.node, case.menu) for case in CASES.values()}
    described = opened.server.object_info()
    for case in CASES.values():
        widgets, of_menu = table[case.node, case.menu], described[case.node]["input"]
        kind, about = (of_menu["required"] | of_menu.get("optional", {}))[case.menu]
        assert (about["options"] if kind == "COMBO" else kind) == case.choices
        counting = {name: widgets.get(name, case.choices) for name in case.values}
        assert {name: set(choices) for name, choices in counting.items()} == {
            name: set(choices) for name, choices in case.counting().items()
        }
        assert widgets.keys() <= case.values.keys()


each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@each_case
def test_a_node_shows_what_counts_with_each_choice_and_nothing_else(opened: Editor, case: Case) -> None:
    counting = case.counting()
    for choice in case.choices:
        choose(opened, case, choice)
        assert shown(opened, case) == [name for name in counting if choice in counting[name]], choice


@each_case
def test_its_height_follows_and_comes_back(opened: Editor, case: Case) -> None:
    first, *others = case.choices
    choose(opened, case, first)
    height, needed = opened.page.evaluate(HEIGHTS, case.node)
    for choice in [*others, *others[::-1]]:
        choose(opened, case, choice)
        now, needs = opened.page.evaluate(HEIGHTS, case.node)
        assert now - height == pytest.approx(needs - needed, abs=1), choice
    choose(opened, case, first)
    assert opened.page.evaluate(HEIGHTS, case.node) == pytest.approx([height, needed], abs=1)


@each_case
def test_a_menu_with_a_link_shows_all(opened: Editor, case: Case) -> None:
    choose(opened, case, case.choices[0])
    opened.page.evaluate(LINK_MENU, [case.node, case.menu])
    assert shown(opened, case) == list(case.values)
    opened.page.evaluate(UNLINK)
    assert shown(opened, case) != list(case.values)


def test_what_counts_with_a_menu_that_is_hidden_is_hidden_too(opened: Editor) -> None:
    case = CASES["IPA_Prepare, border"]
    choose(opened, case, WRITTEN)
    assert shown(opened, case) == ["colour"]
    choose(opened, case._replace(beside={**case.beside, "crop": "center"}), WRITTEN)
    assert shown(opened, case) == []


@each_case
def test_what_is_hidden_keeps_its_value_and_is_saved_in_its_place(opened: Editor, case: Case) -> None:
    opened.set_widgets({name: other for name, (_, other) in case.values.items()})
    saved = []
    for choice in case.choices:
        choose(opened, case, choice)
        values = opened.page.evaluate(SAVED, case.node)
        assert values.count(choice) == 1
        saved.append([value for value in values if value != choice])
    assert saved == [saved[0]] * len(saved)
    assert all(other in saved[0] for _, other in case.values.values())


def test_a_graph_opens_with_what_counts_in_it(opened: Editor) -> None:
    for case in CASES.values():
        choose(opened, case, case.choices[-1])
    graph = opened.page.evaluate("() => app.graph.serialize()")
    before = [(shown(opened, case), opened.page.evaluate(HEIGHTS, case.node)) for case in CASES.values()]
    for case in CASES.values():
        choose(opened, case, case.choices[0])
    opened.load(graph, "what applies")
    opened.show(opened.extent())
    assert [(shown(opened, case), opened.page.evaluate(HEIGHTS, case.node)) for case in CASES.values()] == before
