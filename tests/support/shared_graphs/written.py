"""Graphs like those that people share, written for the tests: as the editor saves them, or as programs post them."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from live import old_graphs
from live.graphs import Graph, text_to_image
from live.ui_graphs import Described, as_saved

Shared = dict[str, Any]
Write = Callable[[Described], Shared]

BYPASSED = 4
LEVEL = {"id": "7d5a1c3e-0f0b-4a53-9a53-6a2f3a1f0001", "name": "image prompt"}


def _drawn(*hooks: Any, **options: Any) -> Write:
    return lambda described: as_saved(text_to_image(*hooks, **options), described)


def _posted(described: Described) -> Shared:
    """A prompt, with a retired word and without what came later."""
    graph = text_to_image(old_graphs.advanced(weight_type="original"))
    del graph[_first(graph, "IPAdapterAdvanced")]["inputs"]["embeds_scaling"]
    return dict(graph)


def _short(described: Described) -> Shared:
    """Values of October 2023, which end where the node then ended."""
    saved = as_saved(text_to_image(old_graphs.old_apply), described)
    for node in saved["nodes"]:
        if node["type"] == "IPAdapterApply":
            node["widgets_values"] = node["widgets_values"][:3]
    return saved


def _switched_off(described: Described) -> Shared:
    saved = as_saved(text_to_image(old_graphs.advanced()), described)
    for node in saved["nodes"]:
        if node["type"] == "IPAdapterAdvanced":
            node["mode"] = BYPASSED
    return saved


def _with_others(described: Described) -> Shared:
    """A word through a link, and a sampler, from a pack that is not there."""
    graph = text_to_image(old_graphs.advanced())
    word = graph.add("WordOfAnotherPack", word="linear")
    graph[_first(graph, "IPAdapterAdvanced")]["inputs"]["weight_type"] = word[0]
    graph["sampler"]["class_type"] = "SamplerOfAnotherPack"
    return as_saved(graph, described)


def _in_subgraph(described: Described) -> Shared:
    """The whole graph inside a subgraph."""
    inside = deepcopy(as_saved(text_to_image(old_graphs.unified("PLUS (high strength)")), described))
    fields = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [dict(zip(fields, link, strict=True)) for link in inside["links"]]
    state = {"lastGroupId": 0, "lastNodeId": inside["last_node_id"], "lastLinkId": len(links), "lastRerouteId": 0}
    ends = {
        name: {"id": number, "bounding": [0, 0, 120, 60]} for name, number in (("inputNode", -10), ("outputNode", -20))
    }
    definition = {**LEVEL, **ends, "version": 1, "revision": 0, "config": {}, "groups": [], "inputs": [], "outputs": []}
    definition |= {"widgets": [], "nodes": inside["nodes"], "links": links, "state": state}
    place = {"pos": [0, 0], "size": [200, 100], "flags": {}, "order": 0, "mode": 0}
    user = {"id": 1, "type": LEVEL["id"], **place, "inputs": [], "outputs": [], "properties": {}, "widgets_values": []}
    outside = {"last_node_id": 1, "last_link_id": 0, "nodes": [user], "links": [], "version": 0.4}
    return outside | {"definitions": {"subgraphs": [definition]}}


def _first(graph: Graph, kind: str) -> str:
    return next(id for id, node in graph.items() if node["class_type"] == kind)


def _of_before(write: Write, renamed: Mapping[str, str]) -> Write:
    """The same with nodes of another shape under the ids that they had."""

    def written(described: Described) -> Shared:
        saved = write(described)
        for node in saved["nodes"]:
            node["type"] = renamed.get(node["type"], node["type"])
        return saved

    return written


OLD_SHAPES = {"IPAdapterEncoder (before version 2)": "IPAdapterEncoder", "IPAdapter (laksjdjf)": "IPAdapter"}

WRITTEN: dict[str, Write] = {
    "advanced": _drawn(old_graphs.advanced()),
    "two pictures added": _drawn(old_graphs.advanced(combine_embeds="add")),
    "unified": _drawn(old_graphs.unified("PLUS (high strength)")),
    "style and composition": _drawn(old_graphs.two_pictures()),
    "embeds": _drawn(old_graphs.embeds),
    "regions": _drawn(old_graphs.regions),
    "frames": _drawn(old_graphs.fade, batch=2),
    "prepared": _drawn(old_graphs.prepared),
    "of October 2023": _short,
    "embeds of before version 2": _of_before(_drawn(old_graphs.old_embeds), OLD_SHAPES),
    "of another pack": _of_before(_drawn(old_graphs.other_pack), OLD_SHAPES),
    "posted": _posted,
    "switched off": _switched_off,
    "with nodes of others": _with_others,
    "in a subgraph": _in_subgraph,
}
"""What a graph shows -> the graph."""
