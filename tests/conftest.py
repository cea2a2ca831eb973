"""The fixtures that all tests share, and their marks."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from package import ROOT

if TYPE_CHECKING:
    from live.server import Server

MARKED = ("live", "browser")  # folders of tests/ that are markers too: `-m "not live"` leaves the quick tests
WITHOUT_BROWSER = os.environ.get("BROWSER") == "0"
left_out = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> None:
    """ComfyUI importable in the test process, on the CPU; import its modules inside the test."""
    from develop.inprocess import enter

    enter(tmp_path_factory.mktemp("comfy"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Server]":
    """A running ComfyUI with this package, the miniature family, and the fabricated models and pictures."""
    from live.models import fabricate_models
    from live.pictures import draw_inputs
    from live.server import Server

    base = tmp_path_factory.mktemp("server")
    fabricate_models(base / "models")
    with Server(base) as server:
        draw_inputs(base / "input")
        yield server


def pytest_xdist_auto_num_workers() -> int:
    """As many processes as there are cores; each may start a server of its own, so no more than 4."""
    return min(os.cpu_count() or 1, 4)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests of each folder in MARKED; leave the browser tests out when BROWSER=0 asks for it."""
    for item in items:
        for folder in MARKED:
            if item.path.is_relative_to(ROOT / "tests" / folder):
                item.add_marker(folder)
    browser = [item for item in items if WITHOUT_BROWSER and item.get_closest_marker("browser")]
    config.stash[left_out] = len(browser)
    if browser:
        config.hook.pytest_deselected(items=browser)
        items[:] = [item for item in items if item not in browser]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in the summary that browser tests were left out."""
    if WITHOUT_BROWSER:
        count = config.stash.get(left_out, "the")  # counted in the processes that run the tests, if there are several
        terminalreporter.write_line(f"BROWSER=0: {count} browser tests were left out", yellow=True)
