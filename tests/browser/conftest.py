"""The graph editor that the tests of a file share: one Chromium, one page over the shared server; left open, it would
slow down whatever comes after."""

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from browser.editor import Editor, launched
from live.server import Server

collect_ignore = [] if os.environ.get("SCREENSHOTS") == "1" else ["test_screenshots.py"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def editor(browser: Browser, server: Server) -> Iterator[Editor]:
    """The editor, ready for a graph."""
    editor = Editor(browser, server)
    yield editor
    editor.page.close()


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes_2"])
def canvas(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[Editor]:
    """The editor with one of the two canvases."""
    editor = Editor(browser, server, nodes_2=request.param)
    yield editor
    editor.page.close()
