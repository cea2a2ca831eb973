"""The files that a template needs and that no menu of its nodes names, each on a node that only names it.

The editor's dialog of missing models lists what a menu of an active node names and does not offer. *IP-Adapter* finds
files by itself, and *Face Embedding* names a folder; so collapsed loaders at the foot of a graph, connected to nothing,
name their files. `make layout` writes them; a test keeps the graphs equal to that.
"""

from typing import Any, NamedTuple

from comfyui_ip_adapter.ip_adapter_core.catalogue.downloads import ADAPTER_FILES, ENCODER_FILES, FACE_FILES, Published

Parts = dict[str, Any]

TITLE = "Needs "  # begins the titles of these nodes
TITLE_BAR, GAP, BELOW = 30, 20, 70  # of a collapsed node; between two; below the other nodes
WIDTH = 310


class Namer(NamedTuple):
    """A node that can name a file: its values after that, and its inputs and outputs as (name, type)."""

    type: str
    values: tuple[Any, ...]
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    sockets: tuple[tuple[str, str], ...] = ()


NAMERS = {
    "ipadapter": Namer(
        "IPA_LoadAdapter", ("auto",), (("file", "COMBO"), ("variant", "COMBO")), (("ip_adapter", "IP_ADAPTER"),)
    ),
    "clip_vision": Namer(
        "IPA_LoadVision",
        ("auto", "as trained"),
        (("file", "COMBO"), ("activation", "COMBO"), ("resolution", "COMBO")),
        (("clip_vision", "CLIP_VISION"),),
    ),
    "insightface": Namer(
        "IPA_Face",
        ("largest", 0, "auto"),
        (("model", "COMBO"), ("faces", "COMBO"), ("index", "INT"), ("backend", "COMBO")),
        (("face", "FACE_FEATURES"), ("crops", "IMAGE")),
        (("image", "IMAGE"),),
    ),
}
"""By the folder of the file."""

_PLUS = (("ipadapter", ADAPTER_FILES["SD1.5", "plus"]), ("clip_vision", ENCODER_FILES["CLIP-ViT-H-14"]))
NEEDS: dict[str, tuple[tuple[str, Published], ...]] = {
    "IPA_Simple": _PLUS,
    "IPA_StyleComposition": _PLUS,
    "IPA_AutoLoad": _PLUS,
}
"""Type of a node -> the folder and the file of what it needs beside what its menus name."""

_ANTELOPE = "https://github.com/deepinsight/insightface/releases/download/v0.7/antelopev2.zip"
PACKS: dict[str, tuple[Published, ...]] = {
    "auraface": FACE_FILES,
    "antelopev2": tuple(
        Published(f"antelopev2/{file}", _ANTELOPE) for file in ("scrfd_10g_bnkps.onnx", "glintr100.onnx")
    ),
}
"""A folder of face networks as IPA_Face names it -> its files."""

_INSTANTID = "https://huggingface.co/InstantX/InstantID/resolve/main/"
RENAMED: dict[str, tuple[Published, ...]] = {
    "ipadapter": (Published("instantid/ip-adapter.bin", _INSTANTID + "ip-adapter.bin"),),
    "controlnet": (
        Published(
            "instantid-controlnet.safetensors", _INSTANTID + "ControlNetModel/diffusion_pytorch_model.safetensors"
        ),
    ),
}
"""Files whose published names say nothing and that no node finds by itself, by folder, as templates call them."""


def needs(node: Parts) -> list[tuple[str, Published]]:
    """The folder and the file of what a node needs beside what its menus name."""
    packs = [PACKS.get(value, ()) for value in node["widgets_values"] if node["type"] == "IPA_Face"]
    return [*NEEDS.get(node["type"], ()), *(("insightface", file) for pack in packs for file in pack)]


def only_names(node: Parts) -> bool:
    """Whether a node is here only to name a file."""
    return str(node.get("title", "")).startswith(TITLE)


def without(graph: Parts) -> Parts:
    """A graph without the nodes that only name files."""
    kept = [node for node in graph["nodes"] if not only_names(node)]
    return {**graph, "last_node_id": graph["last_node_id"] + len(kept) - len(graph["nodes"]), "nodes": kept}


def complete(graph: Parts) -> Parts:
    """A graph with a node for each file that it needs and no menu names."""
    graph = without(graph)
    wanted = dict.fromkeys(need for node in graph["nodes"] for need in needs(node))
    named = {value for node in graph["nodes"] for value in node["widgets_values"] if isinstance(value, str)}
    missing = [(folder, file) for folder, file in wanted if file.file not in named]
    left = min(node["pos"][0] for node in graph["nodes"])
    top = max(node["pos"][1] + node["size"][1] for node in graph["nodes"]) + BELOW
    added = [
        _node(graph, number, (left, top + number * (TITLE_BAR + GAP)), folder, file)
        for number, (folder, file) in enumerate(missing)
    ]
    nodes = [_said_elsewhere(node) for node in graph["nodes"]]
    return {**graph, "last_node_id": graph["last_node_id"] + len(added), "nodes": [*nodes, *added]}


def _said_elsewhere(node: Parts) -> Parts:
    """A node that finds files, without the list of them that the editor looks for in its menus alone."""
    if not needs(node):
        return node
    return {**node, "properties": {key: value for key, value in node["properties"].items() if key != "models"}}


def _node(graph: Parts, number: int, place: tuple[float, float], folder: str, file: Published) -> Parts:
    namer = NAMERS[folder]
    sockets = [{"localized_name": name, "name": name, "type": kind, "link": None} for name, kind in namer.sockets]
    widgets = [
        {"localized_name": name, "name": name, "type": kind, "widget": {"name": name}, "link": None}
        for name, kind in namer.inputs
    ]
    return {
        "id": graph["last_node_id"] + 1 + number,
        "type": namer.type,
        "pos": list(place),
        "size": [WIDTH, TITLE_BAR],
        "flags": {"collapsed": True},
        "order": len(graph["nodes"]) + number,
        "mode": 0,
        "inputs": [*sockets, *widgets],
        "outputs": [
            {"localized_name": name, "name": name, "type": kind, "links": None} for name, kind in namer.outputs
        ],
        "title": f"{TITLE}{file.file} in models/{folder}",
        "properties": {
            "Node name for S&R": namer.type,
            "models": [{"name": file.file, "url": file.url, "directory": folder}],
        },
        "widgets_values": [file.file, *namer.values],
    }
