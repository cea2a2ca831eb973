"""The server that all live tests share, over fabricated models."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from live.models import fabricate_models
from live.server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running ComfyUI with this package, the miniature family and the fabricated models."""
    base = tmp_path_factory.mktemp("server")
    fabricate_models(base / "models")
    with Server(base) as server:
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder `live`, so that `-m "not live"` leaves the quick ones."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("live")
