"""The editor's search orders our nodes as tests/support/node_search.py says it does."""

import pytest

from browser.editor import Editor
from node_search import described, search


@pytest.mark.parametrize(
    "query",
    ["ipadapter", "ip adapter", "IP-Adapter", "IPAdapter Batch Embeds", "ipadapter style & composition sdxl", "faceid"],
)
def test_the_editor_finds_what_its_model_in_the_tests_finds_in_the_same_order(editor: Editor, query: str) -> None:
    nodes = [described(name, info) for name, info in editor.server.get("/object_info").items()]
    expected = [name for name in search(query, nodes) if name.startswith("IPA_")]
    found = [node["name"] for node in editor.search(query) if node["name"].startswith("IPA_")]
    assert expected
    assert found == expected


def test_old_nodes_are_not_found(editor: Editor) -> None:
    assert "IPAdapterAdvanced" not in [node["name"] for node in editor.search("IPAdapter Advanced")]
