"""Where the nodes of a template lie: as they were drawn, as high as they are after a run, moved down where others are.

`python .ci/develop/layout.py` lays out every graph of workflows/, and first measures the nodes in the editor.
"""

import json
from math import ceil
from typing import Any

from live.needed_files import complete, only_names, without
from package import SUPPORT

Parts = dict[str, Any]  # a node, or a graph, as the editor saves it
Sizes = dict[str, list[int]]

MEASURED = SUPPORT / "live" / "node_sizes.json"
TITLE_BAR, GAP = 30, 34  # above a node's position; between a node and the title bar below it
NOTICE = 72  # what a text adds to a node that seldom says one
NOTED = ("IPA_Apply", "IPA_ApplyRegions", "IPA_Encode", "IPA_EncodeFace", "IPA_Prepare", "IPA_Region")
NARROWEST = 225  # that Nodes 2.0 draws
NOTE = "MarkdownNote"
LETTER, LINE = 5.6, 17  # of a note: width of a letter, height of a line
BETWEEN, EDGE = 10, 24  # and between two paragraphs, and at the edge


def sizes() -> Sizes:
    """Width and height of a fresh node of each type, the larger of both canvases, with room for what its run shows."""
    found: Sizes = json.loads(MEASURED.read_text(encoding="utf-8"))
    return found


def arranged(graph: Parts, of: Sizes) -> Parts:
    """The graph with no node over another, in the classic canvas and in Nodes 2.0, before and after a run."""
    bare = without(graph)
    laid = {**bare, "nodes": stacked([{**node, "size": size(node, of)} for node in bare["nodes"]])}
    return complete(laid) if any(map(only_names, graph["nodes"])) else laid


def size(node: Parts, of: Sizes) -> list[int]:
    """The width and height that a node has or needs, whichever is more; a note is as high as its text.

    Raises ValueError when no node of its type was measured.
    """
    width, height = node["size"]
    if node["type"] == NOTE:
        return [width, written(node["widgets_values"][0], width)]
    if node["type"] not in of:
        raise ValueError(f"Run `make layout`: it has not measured a node of type {node['type']} yet.")
    return [max(width, NARROWEST), max(height, of[node["type"]][1])]


def written(text: str, width: float) -> int:
    """How high a note is for its text."""
    paragraphs = [line for line in text.split("\n") if line.strip()]
    lines = sum(ceil(len(paragraph) * LETTER / (width - EDGE)) for paragraph in paragraphs)
    return lines * LINE + len(paragraphs) * BETWEEN + 2 * EDGE


def stacked(nodes: list[Parts]) -> list[Parts]:
    """The nodes, each moved down until those above it leave it room."""
    placed: dict[int, Parts] = {}
    for node in sorted(nodes, key=lambda node: (node["pos"][1], node["pos"][0])):
        x, y = node["pos"]
        ends = [end(other) for other in placed.values() if in_line(node, other)]
        placed[node["id"]] = {**node, "pos": [x, max([y, *(below + GAP + TITLE_BAR for below in ends)])]}
    return [placed[node["id"]] for node in nodes]


def end(node: Parts) -> float:
    """Where the room of a node ends."""
    return float(node["pos"][1] + node["size"][1] + NOTICE * (node["type"] in NOTED))


def in_line(one: Parts, other: Parts) -> bool:
    """Whether one node could cover the other if it were moved up or down."""
    (left, right), (start, stop) = ((node["pos"][0], node["pos"][0] + node["size"][0]) for node in (one, other))
    return bool(left < stop and start < right)
