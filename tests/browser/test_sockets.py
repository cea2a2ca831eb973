"""The sockets of this package have colours, in both canvases and in every theme, and using them makes no notice."""

from collections.abc import Iterator

import pytest

from browser.editor import Editor
from live.ui_graphs import TWIN, place, read
from package import ROOT

OURS = (
    "FACE_FEATURES",
    "IMAGE_PROMPT",
    "IMAGE_PROMPT_INSTRUCTION",
    "IMAGE_PROMPT_REGIONS",
    "IP_ADAPTER",
    "LAYER_WEIGHTS",
    "MOODBOARD_PICTURE",
    "WEIGHT_SCHEDULE",
)
COLOURS = """types => types.map(type => [
    app.canvas.default_connection_color_byType[type],
    LGraphCanvas.link_type_colors[type],
    getComputedStyle(document.documentElement).getPropertyValue(`--color-datatype-${type}`).trim(),
])"""
THEME = "name => app.extensionManager.setting.set('Comfy.ColorPalette', name)"
NOTICES = ("[ComfyUI Notice]", "internal module", "/extensions/comfyui-ip-adapter/")
DEPRECATED = ("input.link", "output.links")  # by editors since 1.58, whose own files read them and make the notice too


@pytest.fixture(params=["dark", "light"])
def theme(request: pytest.FixtureRequest, editor: Editor) -> Iterator[str]:
    """The editor in a theme."""
    editor.page.evaluate(THEME, request.param)
    editor.settle()
    yield request.param
    editor.page.evaluate(THEME, "dark")
    editor.settle()


def test_each_type_of_ours_has_one_colour_of_its_own_in_both_canvases(editor: Editor, theme: str) -> None:
    colours = [set(of_type) for of_type in editor.page.evaluate(COLOURS, list(OURS))]
    assert [len(of_type) for of_type in colours] == [1] * len(OURS)
    assert len(set.union(*colours)) == len(OURS)


def test_a_theme_has_the_last_word(editor: Editor) -> None:
    table = "app.canvas.default_connection_color_byType"
    ours = editor.page.evaluate(f"() => {table}.IP_ADAPTER")
    assert editor.page.evaluate(f"() => ({table}.IP_ADAPTER = '#123456', {table}.IP_ADAPTER)") == "#123456"
    assert editor.page.evaluate(f"() => ({table}.IP_ADAPTER = '', {table}.IP_ADAPTER)") == ours


def test_every_type_that_only_our_nodes_have_is_among_them(editor: Editor) -> None:
    described = editor.server.object_info()
    ours = {kind for name, info in described.items() if name.startswith("IPA_") for kind in info["output"]}
    others = {kind for name, info in described.items() if not name.startswith("IPA") for kind in info["output"]}
    assert ours - others == set(OURS)


def test_the_editor_has_no_notice_for_us(editor: Editor) -> None:
    for name in ("layer_weights", "weight_schedule", "image_prompt_in_one_node"):
        editor.load(read(place(f"{TWIN}{name}")), f"notices of {name}")
    assert editor.run() == {}
    assert [line for line in editor.said if any(word in line for word in NOTICES)] == []


def test_no_file_of_ours_reads_what_editors_deprecate() -> None:
    files = sorted((ROOT / "web").glob("*.js"))
    assert [path.name for path in files if any(name in path.read_text(encoding="utf-8") for name in DEPRECATED)] == []
