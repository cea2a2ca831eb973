"""Blueprints: parts of graphs that the editor's node search offers as one node, written into subgraphs/.

    PYTHONPATH=tests/support python .ci/develop/bring.py run -- python -m live.blueprints

writes them; a test keeps them equal to that.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from live.blueprint_table import BLUEPRINTS, Blueprint
from live.graphs import Graph
from live.ui_graphs import Described, as_saved
from package import ROOT
from schemas import object_info

FOLDER = ROOT / "subgraphs"
CATEGORY = "IP-Adapter"
OUTSIDE = "outside"  # stands for the blueprint's own inputs and outputs while it is drawn
INPUT, OUTPUT = -10, -20  # how the editor numbers these two
COLUMN, ROW, TITLE_BAR, GAP = 420, 24, 60, 50  # width of a column; heights
PREVIEW = 240  # room for what these show
SHOWS = ("IPA_Encode", "IPA_EncodeFace", "IPA_Face", "IPA_LayerWeights", "IPA_Transition", "IPA_AutoLoad")

Parts = dict[str, Any]


def written(name: str, described: Described) -> Parts:
    """A blueprint as the editor saves it: a graph of one node, which is a subgraph."""
    blueprint, id = BLUEPRINTS[name], str(uuid5(NAMESPACE_URL, name))
    inner = subgraph(blueprint, described)
    sockets = [
        {"name": given["name"], "type": given["type"], "link": None, **given["widget"]} for given in inner["inputs"]
    ]
    outside = [{"name": made["name"], "type": made["type"], "links": []} for made in inner["outputs"]]
    node = {"id": 1, "type": id, "pos": [0, 0], "size": [300, TITLE_BAR + ROW * len(sockets)], "flags": {}, "order": 0}
    node |= {"mode": 0, "inputs": sockets, "outputs": outside, "properties": {}, "widgets_values": [], "title": name}
    for given in inner["inputs"]:
        del given["widget"]
    about = {"id": id, "name": name, "category": CATEGORY, "description": blueprint.about}
    return {
        "revision": 0,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [node],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [about | inner]},
        "extra": {"BlueprintDescription": blueprint.about},
    }


def subgraph(blueprint: Blueprint, described: Described) -> Parts:
    """What is inside, without name and id; each input also has what its socket outside says of its widget."""
    graph = Graph()
    graph.add(OUTSIDE, OUTSIDE)
    made = blueprint.draw(graph, {name: [OUTSIDE, slot] for slot, name in enumerate(blueprint.inputs)})
    graph.add(OUTSIDE, "results", **made)
    saved = as_saved(graph, described)
    numbers = {id: number for number, id in enumerate(graph, 1)}
    names = {1: INPUT, len(graph): OUTPUT}
    links = [_link(link, names) for link in saved["links"]]
    nodes = [node for node in saved["nodes"] if node["id"] not in names]
    inputs = [_given(name, slot, links) for slot, name in enumerate(blueprint.inputs)]
    for name, id, widget in blueprint.settings:
        (node,) = (node for node in nodes if node["id"] == numbers[id])
        inputs.append(_setting(name, len(inputs), node, widget, described, links))
    outputs = [_made(name, slot, links, saved["nodes"]) for slot, name in enumerate(made)]
    arrange(nodes, links)
    edges = [min(node["pos"][0] for node in nodes) - 240, max(node["pos"][0] for node in nodes) + COLUMN]
    return {
        "version": 1,
        "state": {"lastGroupId": 0, "lastNodeId": len(graph), "lastLinkId": len(links), "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "inputNode": {"id": INPUT, "bounding": [edges[0], 0, 160, 40 + 20 * len(inputs)]},
        "outputNode": {"id": OUTPUT, "bounding": [edges[1], 0, 120, 40 + 20 * len(outputs)]},
        "inputs": inputs,
        "outputs": outputs,
        "widgets": [],
        "nodes": nodes,
        "groups": [],
        "links": links,
        "extra": {},
    }


def _link(link: list[Any], names: dict[int, int]) -> Parts:
    id, origin, slot, target, target_slot, kind = link
    return {
        "id": id,
        "origin_id": names.get(origin, origin),
        "origin_slot": slot,
        "target_id": names.get(target, target),
        "target_slot": target_slot,
        "type": kind,
    }


def _given(name: str, slot: int, links: list[Parts]) -> Parts:
    """An input of the blueprint, of the type of what it goes to."""
    going = [link for link in links if (link["origin_id"], link["origin_slot"]) == (INPUT, slot)]
    kind = going[0]["type"]
    ids = [link["id"] for link in going]
    return {"id": str(uuid5(NAMESPACE_URL, name)), "name": name, "type": kind, "linkIds": ids, "widget": {}}


def _setting(name: str, slot: int, node: Parts, widget: str, described: Described, links: list[Parts]) -> Parts:
    """An input of the blueprint that is set on it by hand; the widget's socket inside and its link are added."""
    about = described[node["type"]]["input"]
    kind = next(about[group][widget][0] for group in ("required", "optional") if widget in about.get(group, {}))
    kind, id = "COMBO" if isinstance(kind, list) else kind, len(links) + 1
    node["inputs"].append({"name": widget, "type": kind, "widget": {"name": widget}, "link": id})
    links.append(_link([id, INPUT, slot, node["id"], len(node["inputs"]) - 1, kind], {}))
    outside = {"widget": {"name": name}}
    return {"id": str(uuid5(NAMESPACE_URL, name)), "name": name, "type": kind, "linkIds": [id], "widget": outside}


def _made(name: str, slot: int, links: list[Parts], nodes: list[Parts]) -> Parts:
    """An output of the blueprint, of the type of where it comes from."""
    (link,) = (link for link in links if (link["target_id"], link["target_slot"]) == (OUTPUT, slot))
    link["type"] = nodes[link["origin_id"] - 1]["outputs"][link["origin_slot"]]["type"]
    return {"id": str(uuid5(NAMESPACE_URL, f"out {name}")), "name": name, "type": link["type"], "linkIds": [link["id"]]}


def arrange(nodes: list[Parts], links: list[Parts]) -> None:
    """Put the nodes into columns, each right of all that it reads, with room for what they show."""
    depth: dict[int, int] = {}
    for node in nodes:
        sources = [link["origin_id"] for link in links if link["target_id"] == node["id"]]
        depth[node["id"]] = 1 + max((depth.get(source, -1) for source in sources), default=-1)
    floors: dict[int, int] = {}
    for order, node in enumerate(nodes):
        column = depth[node["id"]]
        rows = len(node["inputs"]) + len(node["widgets_values"])
        height = TITLE_BAR + ROW * rows + PREVIEW * (node["type"] in SHOWS)
        node |= {"pos": [COLUMN * column, floors.get(column, 0)], "size": [COLUMN - 80, height], "order": order}
        node["properties"] = {"Node name for S&R": node["type"]}
        floors[column] = floors.get(column, 0) + height + GAP


def files() -> list[tuple[str, Path]]:
    """Each blueprint's name and file."""
    return [(name, FOLDER / f"{name}.json") for name in BLUEPRINTS]


def main() -> None:
    """Write every blueprint."""
    FOLDER.mkdir(exist_ok=True)
    described = object_info()
    for name, path in files():
        path.write_text(json.dumps(written(name, described), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.append(str(ROOT / ".ci"))
    from develop.inprocess import enter

    with TemporaryDirectory() as folder:
        enter(Path(folder))
        main()
