"""ComfyUI's real graph editor in a headless browser: load a graph, queue it, and see what the user would see."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route

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
READY = """() => window.app && window.app.graph && window.app.extensionManager && window.LiteGraph
    && Object.keys(LiteGraph.registered_node_types).length > 300"""
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "LiteGraph.Canvas.MinFontSizeForLOD": 0,  # words also when zoomed out
}
LISTEN = """() => {
    window.ended = null;
    app.api.addEventListener('execution_success', () => { window.ended = {}; });
    app.api.addEventListener('execution_error', event => { window.ended = JSON.parse(JSON.stringify(event.detail)); });
}"""
STATES = """() => app.graph.nodes.map(node => ({
    id: String(node.id), type: node.type, errors: !!node.has_errors, pictures: (node.imgs || []).length,
    texts: (node.widgets || []).map(widget => widget.value).filter(value => typeof value == 'string'),
}))"""
PLACE = """([x, y, scale]) => {
    app.canvas.ds.scale = scale; app.canvas.ds.offset = [-x, -y];
    app.canvas.deselectAll(); app.canvas.setDirty(true, true);
}"""


class Editor:
    """One page of the editor over a running server."""

    def __init__(self, browser: Browser, server: Server, width: int = 1600, height: int = 900, scale: float = 1) -> None:
        self.server = server
        self.page: Page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale)
        self.page.route("**/*", self.keep_local)
        server.post("/settings", SETTINGS)
        self.page.goto(server.address, wait_until="domcontentloaded")
        self.page.wait_for_function(READY, timeout=90_000)
        self.page.evaluate(LISTEN)
        self.settle()

    def keep_local(self, route: Route) -> None:
        """Let through what the server or the page itself has; the tests need no network."""
        here = route.request.url.startswith((self.server.address, "data:", "blob:"))
        route.continue_() if here else route.abort()

    def settle(self, milliseconds: int = 1000) -> None:
        """Let the page draw what it was told."""
        self.page.wait_for_timeout(milliseconds)

    def load(self, graph: dict[str, Any]) -> None:
        """Open a graph of the editor's own format."""
        self.page.evaluate("graph => app.loadGraphData(graph)", graph)
        self.settle(500)

    def prompt(self) -> dict[str, Any]:
        """The API format that the editor would send."""
        sent: dict[str, Any] = self.page.evaluate("async () => (await app.graphToPrompt()).output")
        return sent

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
