"""ComfyUI's real graph editor in a headless browser: load a graph, queue it, and see what the user would see."""

import re
from math import ceil
from typing import Any, NamedTuple

from playwright.sync_api import Browser, Locator, Page, Playwright, Route

from live.server import Server

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
STORE = "settings => fetch('/settings', {method: 'POST', body: JSON.stringify(settings)})"
READY = """() => window.app && window.app.graph && window.app.extensionManager && window.LiteGraph
    && Object.keys(LiteGraph.registered_node_types).length > 300"""
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # words also when zoomed out
}
NODES_2 = "Comfy.VueNodes.Enabled"
SEARCH = """query => document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia._s.get('nodeDef')
    .nodeSearchService.searchNode(query).map(({name, display_name}) => ({name, display_name}))"""
LISTEN = """() => {
    window.ended = null;
    app.api.addEventListener('execution_success', () => { window.ended = {}; });
    app.api.addEventListener('execution_error', event => { window.ended = JSON.parse(JSON.stringify(event.detail)); });
}"""
BOXES = """type => app.graph.nodes.filter(node => !type || node.type == type).map(
    node => [node.pos[0], node.pos[1] - 30, node.size[0], node.size[1] + 30])"""
BOXES_SEEN = """() => app.graph.nodes.map(node => {
    const scale = app.canvas.ds.scale;
    const drawn = LiteGraph.vueNodesMode && document.querySelector(`[data-node-id="${node.id}"]`);
    const {left, top, width, height} = drawn ? drawn.getBoundingClientRect() : {};
    const [wide, high] = node.flags.collapsed ? [node._collapsed_width ?? 80, 0] : node.size;
    return {id: String(node.id), type: node.type, box: drawn
        ? [left / scale, top / scale, width / scale, height / scale]
        : [node.pos[0], node.pos[1] - LiteGraph.NODE_TITLE_HEIGHT, wide, high + LiteGraph.NODE_TITLE_HEIGHT]};
})"""
FRESH = """types => {
    app.graph.clear();
    types.forEach((type, place) => {
        const node = LiteGraph.createNode(type);
        app.graph.add(node);
        node.pos = [place % 8 * 500, Math.floor(place / 8) * 900];
        if (node.size[1] == 200) node.setSize(node.computeSize());  // what a text prompt asks for, and does not need
    });
}"""
ISOLATE = """type => {
    const kept = app.graph.nodes.find(node => node.type == type);
    for (const other of [...app.graph.nodes]) if (other !== kept) app.graph.remove(other);
}"""
STATES = """() => app.graph.nodes.map(node => ({
    id: String(node.id), type: node.type, errors: !!node.has_errors, pictures: (node.imgs || []).length,
    texts: (node.widgets || []).map(widget => widget.value).filter(value => typeof value == 'string'),
}))"""
SET = """values => {
    for (const node of app.graph.nodes) for (const widget of node.widgets || [])
        if (widget.name in values) widget.value = values[widget.name];
}"""
PLACE = """([x, y, scale]) => {
    app.canvas.ds.scale = scale; app.canvas.ds.offset = [-x, -y];
    app.canvas.deselectAll(); app.canvas.setDirty(true, true);
}"""


CARD = "template-workflow-"  # begins the test id of each
TEST_IDS = "cards => cards.map(card => card.dataset.testid)"
TITLE_BAR = 30  # units of the graph
SCROLLS = 40  # at most, to find a template
PAGE = {"width": 1600, "height": 900}
FREE = (80, 92, 1440, 745)  # the part of it that nothing covers: left, top, width, height


def launched(playwright: Playwright) -> Browser:
    """A headless Chromium; fails with the reason when there is none and none can be installed."""
    from develop.browser import ensure

    return playwright.chromium.launch(executable_path=ensure(), headless=True, args=list(OPTIONS))


class Box(NamedTuple):
    """A part of the graph, in its own units."""

    left: float
    top: float
    width: float
    height: float


class Editor:
    """One page of the editor over a running server, with the classic canvas or Nodes 2.0."""

    def __init__(self, browser: Browser, server: Server, nodes_2: bool = False) -> None:
        self.server = server
        self.page: Page = browser.new_page(viewport=PAGE)
        self.said: list[str] = []  # on the console, with the file that says it
        self.page.on("console", lambda message: self.said.append(f"{message.text} ({message.location['url']})"))
        self.page.route("**/*", self.keep_local)
        self.page.goto(f"{server.address}/system_stats")
        self.page.evaluate(STORE, {**SETTINGS, NODES_2: nodes_2})
        self.page.goto(server.address, wait_until="domcontentloaded")
        self.page.wait_for_function(READY, timeout=90_000)
        self.page.evaluate(LISTEN)
        self.settle()

    def keep_local(self, route: Route) -> None:
        """Let through what the server or the page itself has; the tests need no network."""
        here = route.request.url.startswith((self.server.address, "data:", "blob:"))
        route.continue_() if here else route.abort()

    def use(self, *, nodes_2: bool) -> None:
        """Go over to Nodes 2.0, or back to the classic canvas."""
        self.page.evaluate("([name, on]) => app.extensionManager.setting.set(name, on)", [NODES_2, nodes_2])

    def search(self, query: str) -> list[dict[str, str]]:
        """The nodes that the editor's search finds, in its order: name and display_name of each."""
        found: list[dict[str, str]] = self.page.evaluate(SEARCH, query)
        return found

    def settle(self, milliseconds: int = 1000) -> None:
        """Let the page draw what it was told."""
        self.page.wait_for_timeout(milliseconds)

    def load(self, graph: dict[str, Any], name: str | None = None) -> None:
        """Open a graph of the editor's own format, in a tab of that name."""
        self.page.evaluate("([graph, name]) => app.loadGraphData(graph, true, true, name)", [graph, name])
        self.settle(500)

    def prompt(self) -> dict[str, Any]:
        """The API format that the editor would send."""
        sent: dict[str, Any] = self.page.evaluate("async () => (await app.graphToPrompt()).output")
        return sent

    def set_widgets(self, values: dict[str, Any]) -> None:
        """Give every widget of these names its value, in every node."""
        self.page.evaluate(SET, values)

    def open_templates(self, pack: str) -> None:
        """Open the template browser where it shows what a package ships."""
        self.page.keyboard.press("Escape")
        self.page.get_by_role("button", name="Templates").first.click()
        self.page.get_by_text(pack, exact=True).last.click()

    def template(self, name: str) -> Locator:
        """A card of the template browser, which adds cards when one scrolls to the last."""
        card = self.page.get_by_test_id(f"{CARD}{name}")
        cards = self.cards()
        cards.first.wait_for(timeout=20_000)
        for _ in range(SCROLLS):
            if card.count():
                break
            cards.last.scroll_into_view_if_needed()
            self.settle(300)
        return card

    def templates(self) -> list[str]:
        """The names on the cards that the template browser shows first, in its order."""
        self.cards().first.wait_for(timeout=20_000)
        return [card.removeprefix(CARD) for card in self.cards().evaluate_all(TEST_IDS)]

    def cards(self) -> Locator:
        """What the template browser shows of templates."""
        return self.page.get_by_test_id(re.compile(f"^{CARD}"))

    def wait_for_node(self, node_type: str) -> None:
        """Return when the open graph has a node of this type."""
        self.page.wait_for_function("type => app.graph.nodes.some(node => node.type == type)", arg=node_type)
        self.settle()

    def run(self, seconds: float = 120) -> dict[str, Any]:
        """Queue the graph and wait: an empty answer for success, otherwise what the failing node said."""
        self.page.evaluate("() => { window.ended = null; return app.queuePrompt(0) }")
        ended = self.page.wait_for_function("() => window.ended", timeout=seconds * 1000)
        self.settle()
        failure: dict[str, Any] = ended.json_value()
        return failure

    def nodes(self) -> dict[str, dict[str, Any]]:
        """What every node of the open graph shows, by id: type, errors, pictures, texts."""
        return {state["id"]: state for state in self.page.evaluate(STATES)}

    def isolate(self, node_type: str) -> None:
        """Leave only the node of a type."""
        self.page.evaluate(ISOLATE, node_type)

    def box(self, node_type: str = "") -> Box:
        """The extent of the nodes of a type with their titles, by default of all."""
        boxes = [Box(*numbers) for numbers in self.page.evaluate(BOXES, node_type)]
        left, top = min(box.left for box in boxes), min(box.top for box in boxes)
        right, bottom = max(box.left + box.width for box in boxes), max(box.top + box.height for box in boxes)
        return Box(left, top, right - left, bottom - top)

    def boxes(self) -> dict[str, Box]:
        """What each node of the open graph really covers, with its title, by id."""
        self.show(self.extent())
        return {seen["id"]: Box(*seen["box"]) for seen in self.page.evaluate(BOXES_SEEN)}

    def fresh(self, types: list[str]) -> dict[str, list[int]]:
        """Width and height, without the title bar, of a new node of each type."""
        self.page.evaluate(FRESH, types)
        self.show(self.extent())
        seen = {one["type"]: Box(*one["box"]) for one in self.page.evaluate(BOXES_SEEN)}
        return {kind: [ceil(seen[kind].width), ceil(seen[kind].height - TITLE_BAR)] for kind in types}

    def extent(self, margin: float = 24) -> Box:
        """The whole graph with a margin."""
        left, top, width, height = self.box()
        return Box(left - margin, top - margin, width + 2 * margin, height + 2 * margin)

    def show(self, part: Box, largest: float = 1.5) -> float:
        """Move and zoom so that a part of the graph fills the free part of the page; returns pixels per unit."""
        left, top, width, height = FREE
        scale = min(width / part.width, height / part.height, largest)
        self.page.evaluate(PLACE, [part.left - left / scale, part.top - top / scale, scale])
        self.settle()
        return scale

    def picture(self, part: Box) -> bytes:
        """A part of the graph as PNG."""
        scale = self.show(part)
        left, top, *_ = FREE
        return self.page.screenshot(
            clip={"x": left, "y": top, "width": part.width * scale, "height": part.height * scale}
        )
