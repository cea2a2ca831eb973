"""Packs that call the classes of IPAdapter Plus in Python get what the nodes give in a graph, bit for bit.

The names of ways are those of the packs Impact, Inspire and Easy-Use and of what they do; how each calls is in the
tests' pack `callers`.
"""

from typing import Any

import numpy as np
import pytest

from live import faces, old_graphs, prompting
from live.graphs import Graph, Node
from live.old_graphs import Hook, advanced, applied, loaders
from live.prompting import OTHER, REFERENCE, WIDE, load, picture
from live.server import Server

UNTIL: dict[str, Any] = {"weight": 0.7, "weight_type": "linear", "start_at": 0.0, "end_at": 0.9}


@pytest.fixture(scope="module")
def stocked(server: Server) -> Server:
    """A server with a reader of faces too, as Inspire's helper asks for one."""
    return prompting.stock(faces.stock(server))


def called(way: str, image: str = REFERENCE) -> Hook:
    """A hook: the way of another pack."""

    def hook(graph: Graph, model: Any) -> Node:
        pictures = {"image": load(graph, image), "other": load(graph, OTHER)}
        return graph.add("TestCaller", model=model, way=way, **pictures, **loaders(graph, "plus"))

    return hook


def negated(graph: Graph, model: Any) -> Node:
    node = advanced(adapter="plus", **(UNTIL | {"weight_type": "channel penalty"}))(graph, model)
    graph[node.id]["inputs"]["image_negative"] = [load(graph, OTHER).id, 0]
    return node


def masked(graph: Graph, model: Any) -> Node:
    mask = graph.add("SolidMask", value=1.0, width=64, height=64)
    return advanced(adapter="plus", weight=0.7, weight_type="ease in", attn_mask=mask)(graph, model)


def one_after_the_other(graph: Graph, model: Any) -> Node:
    first = advanced(adapter="plus", **UNTIL)(graph, model)
    return advanced(adapter="plus", image=OTHER, **UNTIL)(graph, first)


def two_pictures(graph: Graph, model: Any) -> Node:
    node = old_graphs.two_pictures(weight_style=0.8, weight_composition=0.6, expand_style=True)(graph, model)
    graph[node.id]["inputs"] |= {name: [part.id, 0] for name, part in loaders(graph, "plus").items()}
    return node


TILED = applied("IPAdapterTiled", image=WIDE, sharpening=0.0, combine_embeds="concat", **UNTIL)
ALONE = advanced(adapter="plus", **UNTIL)
EXPECTED: dict[str, tuple[Hook, str]] = {
    "Impact: segment": (negated, REFERENCE),
    "Inspire: region": (masked, REFERENCE),
    "Inspire: encoded region": (advanced(adapter="plus", weight=0.7), REFERENCE),
    "Inspire: helper": (masked, REFERENCE),
    "Easy-Use: simple": (ALONE, REFERENCE),
    "Easy-Use: advanced": (ALONE, REFERENCE),
    "Easy-Use: batch": (applied("IPAdapterBatch", **UNTIL), REFERENCE),
    "Easy-Use: layers": (
        applied("IPAdapterMS", combine_embeds="concat", layer_weights="3:2, 6:1", weight_faceidv2=1.0, **UNTIL),
        REFERENCE,
    ),
    "Easy-Use: two pictures": (two_pictures, REFERENCE),
    "Easy-Use: tiles by place": (TILED, WIDE),
    "Easy-Use: tiles by name": (applied("IPAdapterTiledBatch", image=WIDE, sharpening=0.2, **UNTIL), WIDE),
    "Easy-Use: embeds": (ALONE, REFERENCE),
    "Easy-Use: regions": (one_after_the_other, REFERENCE),
}
"""A way -> the nodes that mean the same in a graph, and the picture that is referred to."""


@pytest.mark.parametrize("way", EXPECTED)
def test_a_call_gives_what_the_node_gives(stocked: Server, plain: np.ndarray, way: str) -> None:
    hook, image = EXPECTED[way]
    found = picture(stocked, called(way, image))
    assert np.array_equal(found, picture(stocked, hook))
    assert not np.array_equal(found, plain)


def test_every_way_of_the_pack_is_tried(stocked: Server) -> None:
    menu = stocked.object_info("TestCaller")["TestCaller"]["input"]["required"]["way"]
    assert set(menu[1]["options"] if menu[0] == "COMBO" else menu[0]) == set(EXPECTED)
