"""On a machine without models, a template of the demo opens without complaint and runs at once."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from browser.editor import Editor
from live.server import PACKS, Server
from live.ui_graphs import place, read

NAME = "comfyui-ip-adapter"
TEMPLATE = "small_world_image_prompt_in_one_node"
MISSING = """() => document.querySelector('#vue-app').__vue_app__.config.globalProperties.$pinia._s
    .get('missingModel')?.missingModelCandidates?.length ?? 0"""
LISTED = """() => LiteGraph.registered_node_types.CheckpointLoaderSimple.nodeData.input.required.ckpt_name.flat(2)
    .flatMap(part => part?.options ?? part).includes('small_world.safetensors')"""


@pytest.fixture(scope="module")
def editor(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """The editor over a server with this package alone and no models."""
    with Server(tmp_path_factory.mktemp("new"), packs={NAME: PACKS[NAME]}) as server:
        yield Editor(browser, server)


def test_a_template_of_the_demo_opens_and_runs_at_once(editor: Editor) -> None:
    assert not editor.page.evaluate(LISTED)
    editor.load(read(place(TEMPLATE)), "demo")
    assert editor.page.evaluate(LISTED)
    editor.settle(2000)
    assert editor.page.evaluate(MISSING) == 0
    assert editor.run() == {}
    assert not any(state["errors"] for state in editor.nodes().values())
