"""Graphs like those that people share open in the editor, run, and give the same picture with this package's nodes."""

from collections.abc import Iterator

import pytest

from browser.editor import Editor
from live.server import FAST_ATTENTION, Server
from live.ui_graphs import Described
from shared_graphs.disk import furnish
from shared_graphs.trial import tried
from shared_graphs.written import WRITTEN


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of somebody who opens graphs of others."""
    base = tmp_path_factory.mktemp("shared_graphs")
    furnish(base)
    with Server(base, options=[FAST_ATTENTION]) as server:
        yield server


@pytest.fixture(scope="module")
def described(server: Server) -> Described:
    """What the server says of its nodes."""
    return server.object_info()


@pytest.mark.parametrize("name", WRITTEN)
def test_a_shared_graph_opens_runs_and_converts(editor: Editor, described: Described, name: str) -> None:
    trial = tried(editor, WRITTEN[name](described), name, described)
    assert trial.wrong == []
    assert trial.failure == ""
    assert trial.old > 0
    assert trial.unlike == ""
