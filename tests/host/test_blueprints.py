"""The blueprints in subgraphs/ are those that live.blueprints writes, and name what is on their inputs."""

from pathlib import Path
from typing import Any

import pytest

from live.blueprint_table import BLUEPRINTS
from live.blueprints import FOLDER, files, written
from live.ui_graphs import read
from schemas import object_info

pytestmark = pytest.mark.usefixtures("comfy")

each = pytest.mark.parametrize(("name", "path"), files(), ids=BLUEPRINTS)


@each
def test_a_blueprint_is_what_its_drawing_writes(name: str, path: Path) -> None:
    assert read(path) == written(name, object_info())


def test_there_are_no_others() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == BLUEPRINTS.keys()
    assert all("IP-Adapter" in name for name in BLUEPRINTS)


@each
def test_its_inputs_have_names_of_their_own_and_its_links_meet_sockets_of_their_type(name: str, path: Path) -> None:
    graph = read(path)
    (inner,), (node,) = graph["definitions"]["subgraphs"], graph["nodes"]
    assert node["type"] == inner["id"]
    names = [given["name"] for given in inner["inputs"]]
    assert names == [given["name"] for given in node["inputs"]]
    assert names == [*BLUEPRINTS[name].inputs, *(setting for setting, *_ in BLUEPRINTS[name].settings)]
    assert len(set(names)) == len(names)
    nodes = {one["id"]: one for one in inner["nodes"]}
    for link in inner["links"]:
        assert link["type"] == origin(inner, nodes, link)["type"] == target(inner, nodes, link)["type"]
        assert target(inner, nodes, link).get("link", link["id"]) == link["id"]


def origin(inner: dict[str, Any], nodes: dict[int, Any], link: dict[str, Any]) -> dict[str, Any]:
    """The socket that a link comes from."""
    sockets = inner["inputs"] if link["origin_id"] < 0 else nodes[link["origin_id"]]["outputs"]
    found: dict[str, Any] = sockets[link["origin_slot"]]
    return found


def target(inner: dict[str, Any], nodes: dict[int, Any], link: dict[str, Any]) -> dict[str, Any]:
    """The socket that a link goes to."""
    sockets = inner["outputs"] if link["target_id"] < 0 else nodes[link["target_id"]]["inputs"]
    found: dict[str, Any] = sockets[link["target_slot"]]
    return found


@each
def test_no_node_inside_covers_another(name: str, path: Path) -> None:
    nodes = read(path)["definitions"]["subgraphs"][0]["nodes"]
    boxes = [(*node["pos"], node["pos"][0] + node["size"][0], node["pos"][1] + node["size"][1]) for node in nodes]
    for number, (left, top, right, bottom) in enumerate(boxes):
        for x0, y0, x1, y1 in boxes[:number]:
            assert x1 <= left or right <= x0 or y1 + 30 <= top or bottom + 30 <= y0
