"""Graphs of the editor's own format (the files in workflows/) turned into prompts that a server takes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from live.titles import TWIN, plain, titled
from package import ROOT

WORKFLOWS = ROOT / "workflows"
NOTES = ("Note", "MarkdownNote")
SEED = "seed"  # its widget has a second one behind it
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")

Described = dict[str, Any]  # what /object_info says of every node type


class Widget(NamedTuple):
    """An input that the user sets on the node itself."""

    name: str
    type: str
    options: dict[str, Any]
    choices: list[Any]


def workflows() -> list[Path]:
    """The graphs that this package ships."""
    return sorted(WORKFLOWS.glob("*.json"))


def place(name: str) -> Path:
    """Where the graph of a plain name is; that of a twin begins with TWIN."""
    return WORKFLOWS / f"{titled(name)}.json"


def named(path: Path) -> str:
    """The plain name of a graph."""
    return plain(path.stem)


def originals() -> list[Path]:
    """The graphs for published models."""
    return [path for path in workflows() if not named(path).startswith(TWIN)]


def twins() -> list[Path]:
    """The graphs for the models that this package brings along."""
    return [path for path in workflows() if named(path).startswith(TWIN)]


def read(path: Path) -> dict[str, Any]:
    """A graph as the editor saved it."""
    graph: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return graph


def working(graph: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes that run: all but notes."""
    return [node for node in graph["nodes"] if node["type"] not in NOTES]


def to_prompt(graph: dict[str, Any], described: Described) -> dict[str, Any]:
    """What the editor would send: for graphs without subgraphs, and without muted or bypassed nodes."""
    links = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    return {
        str(node["id"]): {"class_type": node["type"], "inputs": inputs(node, described[node["type"]], links)}
        for node in working(graph)
    }


def inputs(node: dict[str, Any], described: dict[str, Any], links: dict[int, list[Any]]) -> dict[str, Any]:
    """Widget values, and over them the links."""
    values = {widget.name: value for widget, value in widget_values(node, described)}
    linked = {socket["name"]: links[socket["link"]] for socket in node["inputs"] if socket.get("link") is not None}
    return values | linked


def widget_values(node: dict[str, Any], described: dict[str, Any]) -> Iterator[tuple[Widget, Any]]:
    """Each widget with its value; the file keeps them by position, with one more after a seed.

    A widget that the saved list is too short for has its default, as in the editor.
    """
    saved = iter(node.get("widgets_values", []))
    for widget in widgets(described):
        yield widget, next(saved, widget.options.get("default"))
        if widget.options.get("control_after_generate"):
            next(saved, None)


def widgets(described: dict[str, Any]) -> Iterator[Widget]:
    """The widgets of a node type, in their order."""
    for group in ("required", "optional"):
        for name, (kind, *more) in described["input"].get(group, {}).items():
            options = more[0] if more else {}
            choices = kind if isinstance(kind, list) else options.get("options", [])
            sort = "COMBO" if isinstance(kind, list) else kind
            if sort in WIDGETS and not options.get("forceInput"):
                yield Widget(name, sort, options, choices)


def is_valid(widget: Widget, value: Any) -> bool:
    """Whether the node type takes this value."""
    if widget.type == "COMBO":
        return value in widget.choices
    if widget.type in ("INT", "FLOAT"):
        number = isinstance(value, int if widget.type == "INT" else (int, float)) and not isinstance(value, bool)
        return number and widget.options.get("min", value) <= value <= widget.options.get("max", value)
    return isinstance(value, bool if widget.type == "BOOLEAN" else str)


def as_saved(prompt: dict[str, Any], described: Described) -> dict[str, Any]:
    """A prompt as the editor would save it; node types that are not described have their inputs as they come."""
    numbers = {id: number for number, id in enumerate(prompt, 1)}
    links: list[list[Any]] = []
    nodes = [_node(numbers, id, node, described.get(node["class_type"]), links) for id, node in prompt.items()]
    for number, origin, slot, *_ in links:
        outputs = nodes[origin - 1]["outputs"]
        outputs += [{"name": "*", "type": "*", "links": []} for _ in range(len(outputs), slot + 1)]
        outputs[slot]["links"].append(number)
    return {"last_node_id": len(nodes), "last_link_id": len(links), "nodes": nodes, "links": links, "version": 0.4}


def _node(
    numbers: dict[str, int], id: str, node: dict[str, Any], about: dict[str, Any] | None, links: list[list[Any]]
) -> dict[str, Any]:
    """A node of the editor's format; its links are added to `links`."""
    inputs: list[dict[str, Any]] = []
    values: list[Any] = []
    for name, kind, is_widget, default in _places(node, about):
        value = node["inputs"].get(name, default)
        source = value if isinstance(value, list) else None
        if source:
            links.append([len(links) + 1, numbers[source[0]], source[1], numbers[id], len(inputs), kind])
        if source or not is_widget:
            inputs.append({"name": name, "type": kind, "link": links[-1][0] if source else None})
            inputs[-1] |= {"widget": {"name": name}} if is_widget else {}
        values += [None if source else value] if is_widget else []
        values += ["fixed"] if name == SEED else []
    outputs = [{"name": kind, "type": kind, "links": []} for kind in about["output"]] if about else []
    place = {"pos": [300 * numbers[id], 0], "size": [280, 200], "flags": {}, "order": numbers[id], "mode": 0}
    sides = {"inputs": inputs, "outputs": outputs}
    return {"id": numbers[id], "type": node["class_type"], **place, **sides, "properties": {}, "widgets_values": values}


def _places(node: dict[str, Any], about: dict[str, Any] | None) -> Iterator[tuple[str, str, bool, Any]]:
    """The inputs of a node in their order: name, type, whether it is a widget, its default."""
    if about is None:
        yield from ((name, "*", not isinstance(value, list), None) for name, value in node["inputs"].items())
        return
    for group in ("required", "optional"):
        for name, (kind, *more) in about["input"].get(group, {}).items():
            sort = "COMBO" if isinstance(kind, list) else kind
            choices = kind if isinstance(kind, list) else (more[0] if more else {}).get("options", [None])
            yield name, sort, sort in WIDGETS, (more[0] if more else {}).get("default", next(iter(choices), None))
