"""Names of model files in saved graphs, made those that the files have on this computer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import instantid
from .signatures import OTHER_SHAPES, SIGNATURES
from .ui_graph import Node, levels

ADAPTER, ENCODER, EMBEDS, FACES, INSTANTID = "adapter", "encoder", "embeds", "faces", "instantid_file"

Find = Callable[[str, str], "tuple[str, str] | None"]
"""Kind of file and saved name -> the name of a file here and a remark or "", or None where none is meant."""


class Taken(NamedTuple):
    """A file that a node has now. type: of the node. name: of the file here. remark: which one it stands for."""

    type: str
    name: str
    remark: str


class Place(NamedTuple):
    """Where a node has the name of a file: a row of PLACES. widget: number of the value. kind: of the file."""

    widget: int
    kind: str


def _old_places() -> Iterator[tuple[str, Place]]:
    for node, signature in (SIGNATURES | OTHER_SHAPES | instantid.SIGNATURES).items():
        for number, given in enumerate(signature.widgets):
            if given.of_files:
                yield node, Place(number, given.name if given.name in (EMBEDS, INSTANTID) else ADAPTER)


PLACES: dict[str, Place] = {
    "IPA_LoadAdapter": Place(0, ADAPTER),
    "IPA_LoadVision": Place(0, ENCODER),
    "IPA_Face": Place(0, FACES),
    **dict(_old_places()),
}
"""By the id of the node."""


def take_files(graph: Any, places: dict[str, Place], find: Find) -> list[Taken]:
    """Put the names that files have here into a graph that the editor saved, in place; what was taken with a remark.

    places: of PLACES. A name that is right, and one that means no file, stay.
    """
    nodes = (node for level in levels(graph) for node in level.nodes if node["type"] in places)
    taken = (_take(node, places[node["type"]], find) for node in nodes)
    return [one for one in taken if one]


def _take(node: Node, place: Place, find: Find) -> Taken | None:
    saved = node.get("widgets_values")
    name = saved[place.widget] if isinstance(saved, list) and len(saved) > place.widget else None
    found = find(place.kind, name) if isinstance(name, str) else None
    if not isinstance(saved, list) or found is None or found[0] == name:
        return None
    saved[place.widget] = found[0]
    return Taken(node["type"], *found) if found[1] else None
