"""Loads the repository root as the package `comfyui_ip_adapter`, as ComfyUI does, and keeps it off sys.path."""

import os
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from live.server import Server

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "comfyui_ip_adapter"
MARKED = ("live", "browser")  # folders of tests/ that are markers too: `-m "not live"` leaves the quick tests
WITHOUT_BROWSER = os.environ.get("BROWSER") == "0"
left_out = pytest.StashKey[int]()


def hide_root() -> None:
    """Take the root from sys.path, where `python -m pytest` puts it: its `nodes/` would shadow ComfyUI's `nodes.py`."""
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != ROOT]


def load_package() -> None:
    """Import the root under a fixed name, since the name of its folder is the user's choice."""
    spec = spec_from_file_location(PACKAGE, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


def use_one_thread() -> None:
    """One thread per process, for tiny tensors: with more, any other busy process makes each small step wait for it."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


use_one_thread()
hide_root()
load_package()


@pytest.fixture(scope="session")
def comfy(tmp_path_factory: pytest.TempPathFactory) -> None:
    """ComfyUI importable in the test process, on the CPU; import its modules inside the test."""
    from host.inprocess import enter

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
        terminalreporter.write_line(f"BROWSER=0: {config.stash[left_out]} browser tests were left out", yellow=True)
