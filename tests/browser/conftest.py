"""The graph editor that the browser tests share: one Chromium, one page over the shared server."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from browser.editor import OPTIONS, Editor
from live.server import Server

collect_ignore = [] if os.environ.get("SCREENSHOTS") == "1" else ["test_screenshots.py"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; a test fails with the reason when there is none and none can be installed."""
    from host.browser import ensure

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=ensure(), headless=True, args=list(OPTIONS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def editor(browser: Browser, server: Server) -> Iterator[Editor]:
    """The editor, ready for a graph."""
    editor = Editor(browser, server)
    yield editor
    editor.page.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder `browser`, so that BROWSER=0 leaves it out."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("browser")
