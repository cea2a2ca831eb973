"""The editor leaves graphs alone whose nodes are another pack's."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from browser.editor import Editor
from live.beside import place, with_an_encoder
from live.server import Server


@pytest.fixture(scope="module")
def beside(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """The editor of a server with our package and another pack that has ids of IPAdapter Plus."""
    base = tmp_path_factory.mktemp("beside")
    with Server(base, options=place(base, "a-pack", first=True)) as server:
        editor = Editor(browser, server)
        yield editor
        editor.page.close()


def test_another_packs_nodes_open_as_they_are_saved(beside: Editor) -> None:
    asked: list[str] = []
    beside.page.on("request", lambda request: asked.append(request.url))
    graph = with_an_encoder()
    beside.load(graph)
    values = beside.page.evaluate("() => app.graph.nodes.map(node => [node.type, node.widgets.map(one => one.value)])")
    assert values == [["IPAdapterEncoder", graph["nodes"][0]["widgets_values"]]]
    assert not [url for url in asked if "/ip_adapter/" in url]
