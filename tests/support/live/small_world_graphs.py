"""Twins of the graphs in workflows/ that run on the package's own small models: nothing to download or to upload.

`make layout` writes them; a test keeps the committed ones equal to that.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from live.needed_files import without
from live.small_world_tables import (
    ABOUT,
    CHOICES,
    DENOISE,
    FILES,
    NEEDS,
    OF_FACES,
    PORTRAIT,
    PORTRAITS,
    SAMPLING,
    SIDE,
    SUBJECTS,
    TEXTS,
)
from live.titles import TWIN
from live.ui_graphs import originals, read

Parts = dict[str, Any]  # a node, or a graph, as the editor saves it
Link = list[Any]  # id, node and slot it comes from, node and slot it goes to, type

PASSED = {"Canny": 2, "ImageScaleToTotalPixels": 0}  # nodes left out: which output of their source stands for theirs
SHOW_PEOPLE = {graph for graph, _ in PORTRAITS}
TITLE_BAR, GAP = 30, 40  # above a node's position; between nodes


class Drawer(NamedTuple):
    """A node that draws: its type, its widgets in order, its outputs with their types, and its height."""

    type: str
    choices: tuple[str, ...]
    outputs: tuple[tuple[str, str], ...]
    height: int


_IMAGE, _CAPTION = ("image", "IMAGE"), ("caption", "STRING")
THING = Drawer("IPA_SmallWorld", CHOICES, (_IMAGE, ("mask", "MASK"), ("outlines", "IMAGE"), _CAPTION), 520)
PERSON = Drawer("IPA_SmallWorldPortrait", PORTRAIT, (_IMAGE, _CAPTION), 590)


def twin(graph: Parts, name: str) -> Parts:
    """The graph `name` of workflows/ as the small world runs it."""
    graph = without(graph)
    nodes = [rewritten(node, name) for node in graph["nodes"] if node["type"] not in PASSED]
    links = relinked(graph)
    return {
        **graph,
        "id": str(uuid5(NAMESPACE_URL, TWIN + name)),
        "nodes": [wired(node, links) for node in stacked(numbered(nodes))],
        "links": links,
    }


def rewritten(node: Parts, name: str) -> Parts:
    """A node with the small world's files and values; nothing that says where to download."""
    edited = REWRITES[node["type"]](node, name) if node["type"] in REWRITES else node
    files = OF_FACES if name in SHOW_PEOPLE else FILES
    values = [files.get(value, value) for value in edited["widgets_values"]]
    properties = {key: value for key, value in edited["properties"].items() if key != "models"}
    return {**edited, "widgets_values": values, "properties": properties}


def subject(node: Parts, name: str) -> Parts:
    """The node that draws what LoadImage would load."""
    key = name, node["title"]
    drawer = PERSON if key in PORTRAITS else THING
    return {
        **node,
        "type": drawer.type,
        "size": [node["size"][0], drawer.height],
        "inputs": [by_hand(choice, "INT" if choice in ("person", "seed") else "COMBO") for choice in drawer.choices],
        "outputs": [{"localized_name": output, "name": output, "type": kind} for output, kind in drawer.outputs],
        "properties": {"Node name for S&R": drawer.type},
        "widgets_values": list((PORTRAITS if key in PORTRAITS else SUBJECTS)[key]),
    }


def by_hand(name: str, kind: str) -> Parts:
    """An input that is set on the node itself."""
    return {"localized_name": name, "name": name, "type": kind, "widget": {"name": name}, "link": None}


def spoken(node: Parts, name: str) -> Parts:
    """The text prompt in the small world's words, or none."""
    return {**node, "widgets_values": [TEXTS.get((name, node["title"]), "")]}


def sampled(node: Parts, name: str) -> Parts:
    """The sampler as the small world was tuned."""
    return {**node, "widgets_values": [*SAMPLING, DENOISE.get(name, node["widgets_values"][-1])]}


def shrunk(node: Parts, name: str) -> Parts:
    """Empty pictures of the small world's size, as many as there were."""
    return {**node, "widgets_values": [SIDE, SIDE, node["widgets_values"][-1]]}


def saved(node: Parts, name: str) -> Parts:
    """The picture's own name."""
    return {**node, "widgets_values": [TWIN.rstrip("_")]}


def explained(node: Parts, name: str) -> Parts:
    """What to see, and what to change."""
    return {**node, "widgets_values": [f"{ABOUT[name]}\n\n{NEEDS}"]}


REWRITES: dict[str, Callable[[Parts, str], Parts]] = {
    "LoadImage": subject,
    "CLIPTextEncode": spoken,
    "KSampler": sampled,
    "EmptyLatentImage": shrunk,
    "SaveImage": saved,
    "MarkdownNote": explained,
}


def relinked(graph: Parts) -> list[Link]:
    """The links without the nodes in PASSED: what read them reads their source."""
    passed = {node["id"]: PASSED[node["type"]] for node in graph["nodes"] if node["type"] in PASSED}
    sources = {target: origin for _, origin, _, target, *_ in graph["links"] if target in passed}
    kept = [link for link in graph["links"] if link[3] not in passed]
    return [
        [number, sources.get(origin, origin), passed.get(origin, slot), *rest] for number, origin, slot, *rest in kept
    ]


def numbered(nodes: list[Parts]) -> list[Parts]:
    """The nodes with the order of their execution as whole numbers."""
    ranks = {node["id"]: rank for rank, node in enumerate(sorted(nodes, key=lambda node: float(node["order"])))}
    return [{**node, "order": ranks[node["id"]]} for node in nodes]


def stacked(nodes: list[Parts]) -> list[Parts]:
    """The nodes, each moved down until those above it leave it room."""
    placed: dict[int, Parts] = {}
    for node in sorted(nodes, key=lambda node: node["pos"][1]):
        x, y = node["pos"]
        ends = [other["pos"][1] + other["size"][1] for other in placed.values() if in_line(node, other)]
        placed[node["id"]] = {**node, "pos": [x, max([y, *(end + GAP + TITLE_BAR for end in ends)])]}
    return [placed[node["id"]] for node in nodes]


def in_line(one: Parts, other: Parts) -> bool:
    """Whether one node could cover the other if it were moved up or down."""
    (left, right), (start, end) = ((node["pos"][0], node["pos"][0] + node["size"][0]) for node in (one, other))
    return bool(left < end and start < right)


def wired(node: Parts, links: list[Link]) -> Parts:
    """A node whose sockets know the links."""
    into = {link[4]: link[0] for link in links if link[3] == node["id"]}
    out = [[link[0] for link in links if link[1:3] == [node["id"], slot]] for slot in range(len(node["outputs"]))]
    return {
        **node,
        "inputs": [{**socket, "link": into.get(slot)} for slot, socket in enumerate(node["inputs"])],
        "outputs": [{**socket, "links": going or None} for socket, going in zip(node["outputs"], out, strict=True)],
    }


def with_twin() -> list[Path]:
    """The graphs whose models the small world has all of."""
    return [path for path in originals() if needed(read(path)) <= FILES.keys()]


def needed(graph: Parts) -> set[str]:
    """The model files that a graph names."""
    return {model["name"] for node in without(graph)["nodes"] for model in node["properties"].get("models", [])}
