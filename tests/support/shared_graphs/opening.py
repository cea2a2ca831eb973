"""Graphs of others in the editor: whether a graph opens with its IP-Adapter nodes as they were saved."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from playwright.sync_api import Error

from browser.editor import Editor
from comfyui_ip_adapter.ip_adapter_core.compat.shapes import normalise_graph, normalise_prompt
from comfyui_ip_adapter.ip_adapter_core.compat.ui_graph import levels, values
from shared_graphs.cut import is_link
from shared_graphs.disk import OLD

SAVED = "() => JSON.parse(JSON.stringify((app.rootGraph ?? app.graph).serialize()))"
LOAD_API = "([prompt, name]) => app.loadApiJson(prompt, name)"
UNKNOWN = """() => {
    const root = app.rootGraph ?? app.graph;
    return [root, ...(root.subgraphs?.values() ?? [])].flatMap(graph => graph.nodes)
        .filter(node => !LiteGraph.registered_node_types[node.type]).map(node => node.type);
}"""
NOT_ON_MENU = """files => {
    const root = app.rootGraph ?? app.graph;
    return [root, ...(root.subgraphs?.values() ?? [])].flatMap(graph => graph.nodes).flatMap(node =>
        (node.widgets ?? []).filter(widget => files.includes(`${node.type}.${widget.name}`)
            && !widget.options.values.includes(widget.value)).map(widget => `${widget.value} of ${node.type}`));
}"""
LEAVE_OUT_UNKNOWN = """() => {
    const root = app.rootGraph ?? app.graph;
    const graphs = [root, ...(root.subgraphs?.values() ?? [])];
    let count = 0;
    for (const graph of graphs) for (const node of [...graph.nodes])
        if (!LiteGraph.registered_node_types[node.type]) { graph.remove(node); count += 1; }
    return count;
}"""
SWITCH_ON = """() => {
    for (const node of app.graph.nodes) node.mode = 0;
}"""


FILES = [f"{node}.{given.name}" for node, row in OLD.items() for given in row.widgets if given.of_files]
"""Menus of files; where their values are not on them, the editor shows the node red, as one whose model is missing."""


class Whole(NamedTuple):
    """What matters of an old node: its type, which inputs are connected, and its values by name."""

    type: str
    linked: frozenset[str]
    values: dict[str, Any]

    def is_in(self, others: list["Whole"]) -> bool:
        """Whether one of the others is this node; it is taken out of them. Others may have more values."""
        for other in others:
            if self[:2] == other[:2] and all(
                _same(value, other.values.get(name)) for name, value in self.values.items()
            ):
                others.remove(other)
                return True
        return False


def _same(value: Any, other: Any) -> bool:
    """The editor rounds numbers to their steps."""
    return value == other or (isinstance(value, float) and isinstance(other, float | int) and abs(value - other) < 1e-6)


def complaints(editor: Editor, graph: Mapping[str, Any], name: str) -> list[str]:
    """Open a graph of either format as the editor does with a file that is dropped into it; what is not as saved."""
    is_prompt = "nodes" not in graph
    editor.page.evaluate(LOAD_API, [graph, name]) if is_prompt else editor.load(dict(graph), name)
    red = sorted({kind for kind in editor.page.evaluate(UNKNOWN) if kind in OLD})
    found = list(_of_graph(editor.page.evaluate(SAVED)))
    wanted = list(_of_prompt(graph, editor) if is_prompt else _of_graph(_shaped(graph)))
    lost = [node for node in wanted if not node.is_in(found)]
    missing = [] if is_prompt else editor.page.evaluate(NOT_ON_MENU, FILES)
    return [
        *(f"{kind} is red" for kind in red),
        *(f"not on the menu: {file}" for file in missing),
        *(f"not as saved: {node}" for node in lost),
    ]


class Sent(NamedTuple):
    """What the editor would send. left_out: how many nodes without a class were taken out of its graph for that."""

    prompt: dict[str, Any]
    left_out: int = 0


def sent(editor: Editor) -> Sent:
    """What the editor would send; where it fails over nodes that it does not know, without these."""
    try:
        return Sent(editor.prompt())
    except Error:
        left_out = editor.page.evaluate(LEAVE_OUT_UNKNOWN)
        return Sent(editor.prompt(), left_out)


def switch_on(editor: Editor) -> None:
    """Switch on every node of the open graph that is muted or bypassed."""
    editor.page.evaluate(SWITCH_ON)


def _shaped(graph: Mapping[str, Any]) -> dict[str, Any]:
    shaped = deepcopy(dict(graph))
    normalise_graph(shaped)
    return shaped


def _of_graph(graph: dict[str, Any]) -> Iterator[Whole]:
    for level in levels(graph):
        for node in level.nodes:
            if node["type"] in OLD and not level.grouped:
                widgets = OLD[node["type"]].widgets
                saved = values(node, [given.name for given in widgets])
                plain = {
                    given.name: saved[given.name] for given in widgets if given.name in saved and not given.of_files
                }
                yield Whole(node["type"], frozenset(level.links_to(node)), plain)


def _of_prompt(prompt: Mapping[str, Any], editor: Editor) -> Iterator[Whole]:
    """The editor drops nodes that it has no class for, and links from them."""
    shaped = deepcopy(dict(prompt))
    normalise_prompt(shaped)
    known = set(editor.page.evaluate("() => Object.keys(LiteGraph.registered_node_types)"))
    for node in shaped.values():
        if node["class_type"] in OLD:
            given = node["inputs"]
            linked = {
                name for name, value in given.items() if is_link(value) and shaped[value[0]]["class_type"] in known
            }
            names = [spec.name for spec in OLD[node["class_type"]].widgets if not spec.of_files]
            plain = {name: given[name] for name in names if name in given and not is_link(given[name])}
            yield Whole(node["class_type"], frozenset(linked), plain)
