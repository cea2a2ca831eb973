"""Graphs with nodes of IPAdapter Plus as files have them: one description, written as the editor or the API does."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from comfyui_ip_adapter.ip_adapter_core.compat.signatures import OTHER_SHAPES, SIGNATURES, Input, Signature
from comfyui_ip_adapter.ip_adapter_core.compat.ui_graph import Level, levels

ROWS = SIGNATURES | OTHER_SHAPES

OTHERS: dict[str, list[str]] = {
    "CheckpointLoaderSimple": ["MODEL", "CLIP", "VAE"],
    "CLIPVisionLoader": ["CLIP_VISION"],
    "LoadImage": ["IMAGE", "MASK"],
    "CLIPTextEncode": ["CONDITIONING"],
    "FreeU": ["MODEL"],
    "PrimitiveNode": ["FLOAT"],
    "Reroute": ["*"],
    "KSampler": ["LATENT"],
    "PreviewImage": [],
    "OtherPack": [],
}
"""Nodes of others, and the types of their outputs."""


class Out(NamedTuple):
    """An output of a node: its name in the description, and the output's number."""

    node: int
    slot: int = 0


class Described(NamedTuple):
    """A node: its type, what its inputs get (values, or an Out), and its mode."""

    type: str
    inputs: dict[str, Any] = MappingProxyType({})  # type: ignore[assignment]
    mode: int = 0


Graph = dict[int, Described]


def prompt(graph: Graph) -> dict[str, Any]:
    """As a prompt for the API."""
    return {
        str(key): {
            "class_type": node.type.split(" (")[0],
            "inputs": {
                name: [str(value.node), value.slot] if isinstance(value, Out) else value
                for name, value in node.inputs.items()
            },
        }
        for key, node in graph.items()
    }


def saved(graph: Graph, as_objects: bool = False) -> dict[str, Any]:
    """As the editor saves it. as_objects: links as in subgraphs."""
    links: list[list[Any]] = []
    nodes = [_node(key, node, links) for key, node in graph.items()]
    records: list[Any] = [_object(link) for link in links] if as_objects else links
    for link in links:
        origin = next(node for node in nodes if node["id"] == link[1])
        output = origin["outputs"][link[2]]
        output["links"] = [*(output["links"] or []), link[0]]
        link[5] = output["type"]
    return {"last_node_id": max(graph), "last_link_id": len(links), "nodes": nodes, "links": records, "version": 0.4}


def in_subgraph(graph: Graph) -> dict[str, Any]:
    """The same inside a subgraph, whose only node of the outside uses it."""
    inside = saved(graph, as_objects=True)
    state = {"lastNodeId": inside.pop("last_node_id"), "lastLinkId": inside.pop("last_link_id")}
    definition = inside | {"id": "abc", "name": "inside", "inputs": [], "outputs": [], "state": state}
    user = {"id": 1, "type": "abc", "inputs": [], "outputs": [], "properties": {}, "widgets_values": []}
    outside = {"nodes": [user], "links": [], "last_node_id": 1, "last_link_id": 0}
    return outside | {"definitions": {"subgraphs": [definition]}}


def types(graph: Mapping[str, Any]) -> Counter[str]:
    """How many nodes of each type a graph has, in either format."""
    if "nodes" not in graph:
        return Counter(node["class_type"] for node in graph.values())
    return Counter(node["type"] for level in levels(graph) for node in level.nodes)


def check_links(graph: Mapping[str, Any]) -> None:
    """Every link has both its ends, each names it, and no end names a link that is not there."""
    if "nodes" not in graph:
        for node in graph.values():
            for value in node["inputs"].values():
                assert not isinstance(value, list) or value[0] in graph
        return
    for level in levels(graph):
        _check_level(level)


def random_graph(seed: int) -> Graph:
    """A graph of old nodes and others, connected wherever types allow, some of them switched off."""
    draw = random.Random(seed)
    graph: Graph = {key: Described(kind) for key, kind in enumerate(list(OTHERS)[:4], 1)}
    for _ in range(draw.randint(4, 14)):
        kind = draw.choice([*ROWS, *OTHERS, "IPAdapterAdvanced", "IPAdapterUnifiedLoader", "IPAdapterModelLoader"])
        graph[max(graph) + 1] = _random_node(draw, kind, list(_outputs(graph)))
    return graph


def widgets(row: Signature) -> dict[str, Any]:
    """Values that a node has when it is new."""
    return {given.name: "a.bin" if given.default is None else given.default for given in row.widgets}


def _random_node(draw: random.Random, kind: str, given: list[tuple[Out, str]]) -> Described:
    mode = draw.choice([0, 0, 0, 0, 2, 4])
    if kind not in ROWS:
        inputs = {f"in_{number}": draw.choice(given)[0] for number in range(draw.randint(0, 2))}
        return Described(kind, inputs if kind != "Reroute" else dict(list(inputs.items())[:1]), mode)
    row = ROWS[kind]
    inputs = {one.name: _random_value(draw, one) for one in row.widgets}
    for one in row.inputs:
        fitting = [out for out, out_type in given if one.type in (out_type, "*") or out_type == "*"]
        if not one.is_widget and fitting and draw.random() < (0.4 if one.optional else 0.95):
            inputs[one.name] = draw.choice(fitting)
        elif (
            one.type == "FLOAT" and draw.random() < 0.05 and (floats := [out for out, kind in given if kind == "FLOAT"])
        ):
            inputs[one.name] = draw.choice(floats)
    return Described(kind, inputs, mode)


def _random_value(draw: random.Random, given: Input) -> Any:
    if given.type == "BOOLEAN":
        return draw.random() < 0.3
    if given.limits:
        least, most, _ = given.limits
        number = draw.choice([given.default, given.default, least, most, draw.uniform(least, most)])
        return int(number) if given.type == "INT" else float(number)
    if given.options:
        return draw.choice(given.options)
    return draw.choice(["ip-adapter_sd15.bin", "ip-adapter-faceid-plusv2_sdxl.bin"])


def _outputs(graph: Graph) -> Iterator[tuple[Out, str]]:
    for key, node in graph.items():
        for slot, kind in enumerate(_types_of(node.type)):
            yield Out(key, slot), kind


def _types_of(kind: str) -> list[str]:
    return [output.type for output in ROWS[kind].outputs] if kind in ROWS else OTHERS[kind]


def _node(key: int, node: Described, links: list[list[Any]]) -> dict[str, Any]:
    row = ROWS.get(node.type)
    listed = [one.name for one in row.widgets] if row else []
    wired = [name for name, value in node.inputs.items() if isinstance(value, Out)]
    names = [one.name for one in row.inputs if not one.is_widget] if row else []
    inputs = []
    for slot, name in enumerate([*names, *(name for name in wired if name not in names)]):
        source = node.inputs.get(name)
        if isinstance(source, Out):
            links.append([len(links) + 1, source.node, source.slot, key, slot, "*"])
        kind = next((one.type for one in row.inputs if one.name == name), "*") if row else "*"
        made = {"name": name, "type": kind, "link": links[-1][0] if isinstance(source, Out) else None}
        inputs.append(made | ({"widget": {"name": name}} if name in listed else {}))
    defaults = widgets(row) if row else {}
    values = [defaults[name] if isinstance(node.inputs.get(name), Out) else node.inputs.get(name) for name in listed]
    outputs = [{"name": kind, "type": kind, "links": None} for kind in _types_of(node.type)]
    return {
        "id": key, "type": node.type.split(" (")[0], "pos": [100.0 * key, 0.0], "size": [200, 100], "flags": {},
        "order": key, "mode": node.mode, "inputs": inputs, "outputs": outputs, "properties": {},
        "widgets_values": values,
    }  # fmt: skip


def _object(link: list[Any]) -> dict[str, Any]:
    return dict(zip(("id", "origin_id", "origin_slot", "target_id", "target_slot", "type"), link, strict=True))


def _check_level(level: Level) -> None:
    nodes = {node["id"]: node for node in level.nodes}
    assert len(nodes) == len(level.nodes)
    there = Counter(link["id"] for link in level.links)
    assert max(there.values(), default=1) == 1
    for link in level.links:
        origin, target = nodes[link["origin_id"]], nodes[link["target_id"]]
        assert link["id"] in origin["outputs"][link["origin_slot"]]["links"]
        assert target["inputs"][link["target_slot"]]["link"] == link["id"]
    named = [number for node in level.nodes for output in node["outputs"] for number in output["links"] or []]
    taken = [given["link"] for node in level.nodes for given in node["inputs"] if given["link"] is not None]
    assert Counter(named) == Counter(taken) == there
