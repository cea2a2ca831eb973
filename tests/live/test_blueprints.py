"""The server hands out the blueprints, and what is in them changes pictures."""

import json
from typing import Any

import numpy as np
import pytest

from live.blueprint_graphs import drawn
from live.blueprint_table import BLUEPRINTS
from live.blueprints import files
from live.server import Server
from live.ui_graphs import read


def test_the_server_hands_out_each_blueprint(server: Server) -> None:
    offered: dict[str, Any] = server.get("/global_subgraphs")
    ours = {entry["name"]: id for id, entry in offered.items() if "comfyui-ip-adapter" in entry["info"]["node_pack"]}
    assert ours.keys() == BLUEPRINTS.keys()
    for name, path in files():
        assert json.loads(server.get(f"/global_subgraphs/{ours[name]}")["data"]) == read(path)


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_what_is_in_a_blueprint_changes_the_picture(server: Server, name: str) -> None:
    graph = drawn(name, server.object_info())
    with_prompts, without = (np.stack(server.run(one).images()) for one in (graph, unweighted(graph)))
    assert with_prompts.std() > 5
    assert not np.array_equal(with_prompts, without)


def unweighted(graph: dict[str, Any]) -> dict[str, Any]:
    """The graph with all weights of image prompts 0."""
    nodes = {id: {**node, "inputs": dict(node["inputs"])} for id, node in graph.items()}
    for node in nodes.values():
        if node["class_type"] in ("IPA_Apply", "IPA_Region"):
            node["inputs"]["weight"] = 0.0
        if node["class_type"] == "SaveImage":
            node["inputs"]["filename_prefix"] += "without"
    return nodes
