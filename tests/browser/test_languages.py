"""The editor in another language: names, tooltips and menus are of that language, what is saved is as before."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser.editor import READY, STORE, Editor
from languages import LOCALES, NODES, read
from live.server import Server

LANGUAGE, NODE = "ja", "IPA_Encode"
ADD = """type => {
    const name = one => one.label ?? one.localized_name ?? one.name;
    app.graph.clear(); const node = LiteGraph.createNode(type); app.graph.add(node); return {
    title: node.getTitle(), inputs: node.inputs.filter(one => !one.widget).map(name), outputs: node.outputs.map(name),
    widgets: node.widgets.map(one => ({name: one.name, label: one.label ?? one.name, value: one.value,
        shown: one.options.getOptionLabel?.(one.value)})),
    saved: node.serialize().widgets_values}; }"""
DRAWN = "name => app.graph.nodes[0].widgets.find(one => one.name == name).last_y"
MENU = """name => {
    const node = app.graph.nodes[0], widget = node.widgets.find(one => one.name == name);
    const [x, y] = app.canvas.convertOffsetToCanvas([node.pos[0] + node.size[0] / 2, node.pos[1] + widget.last_y + 10]);
    const box = app.canvas.canvas.getBoundingClientRect();
    return [box.left + x, box.top + y]; }"""


@pytest.fixture(scope="module")
def foreign(browser: Browser, server: Server) -> Iterator[Editor]:
    """The editor in that language; the next one speaks English again."""
    editor = Editor(browser, server)
    _speak(editor, LANGUAGE)
    yield editor
    editor.page.evaluate(STORE, {"Comfy.Locale": "en"})
    editor.page.close()


def _speak(editor: Editor, language: str) -> None:
    editor.page.evaluate(STORE, {"Comfy.Locale": language})
    editor.page.reload(wait_until="domcontentloaded")
    editor.page.wait_for_function(READY, timeout=90_000)
    editor.settle()


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    texts: dict[str, Any] = read(LOCALES / LANGUAGE / NODES)[NODE]
    return texts


def test_a_node_is_named_in_the_language_and_saved_as_before(foreign: Editor, said: dict[str, Any]) -> None:
    node = foreign.page.evaluate(ADD, NODE)
    assert node["title"] == said["display_name"]
    assert set(node["inputs"]) <= {one["name"] for one in said["inputs"].values()}
    assert node["outputs"] == [one["name"] for one in said["outputs"].values()]
    words = {one["name"]: one for one in node["widgets"]}
    fit = said["inputs"]["fit"]
    assert words["fit"]["label"] == fit["name"]
    assert words["fit"]["shown"] == fit["options"]["center crop"] != "center crop"
    assert words["fit"]["value"] == "center crop"
    assert "center crop" in node["saved"]


@pytest.mark.parametrize("vue", [False, True])
def test_a_menu_shows_the_words_of_the_language(foreign: Editor, said: dict[str, Any], vue: bool) -> None:
    foreign.use(nodes_2=vue)
    foreign.page.evaluate(ADD, NODE)
    foreign.show(foreign.extent())
    offered = list(said["inputs"]["fit"]["options"].values())
    try:
        _open(foreign, vue, offered)
        for word in offered[1:]:
            assert foreign.page.get_by_text(word, exact=True).last.is_visible()
    finally:
        foreign.page.keyboard.press("Escape")
        foreign.page.evaluate("() => LiteGraph.closeAllContextMenus()")
        foreign.use(nodes_2=False)


def _open(editor: Editor, vue: bool, offered: list[str]) -> None:
    """Click until the menu is there: a busy page forgets clicks."""
    for _ in range(5):
        OPEN[vue](editor, offered[0])
        editor.settle()
        if editor.page.get_by_text(offered[1], exact=True).count():
            return


def _click_on_canvas(editor: Editor, shown: str) -> None:
    editor.page.wait_for_function(DRAWN, arg="fit")
    editor.page.mouse.click(*editor.page.evaluate(MENU, "fit"))


def _click_on_word(editor: Editor, shown: str) -> None:
    editor.page.get_by_text(shown, exact=True).first.click()


OPEN = {False: _click_on_canvas, True: _click_on_word}
