"""Lay out the templates: measure the nodes in the editor, in both of its canvases, and write where each lies.

`make layout`, or in an environment with a ComfyUI `python .ci/develop/layout.py`; with `--measured`, from the sizes
that were measured last, without a browser. The twins of the small world are derived from their originals first.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT / "tests" / "support"), str(ROOT / ".ci")]  # not this folder, which has a browser.py too

import package  # noqa: E402, F401  (loads the package)
from browser.editor import Editor, launched  # noqa: E402
from live.layout import MEASURED, Sizes, arranged, sizes  # noqa: E402
from live.models import fabricate_models  # noqa: E402
from live.pictures import draw_inputs  # noqa: E402
from live.server import Server  # noqa: E402
from live.small_world_graphs import twin, with_twin  # noqa: E402
from live.titles import TWIN, plain, titled  # noqa: E402
from live.ui_graphs import WORKFLOWS, named, originals, place, read, workflows  # noqa: E402

PLACE = ROOT / ".host" / "layout"


def main() -> None:
    """Measure, unless that is not wanted; then write every graph that lies differently, and say which."""
    entitle()
    measured = sizes() if sys.argv[1:] == ["--measured"] else measure()
    for path in originals():
        write(path, arranged(read(path), measured))
    for path in with_twin():
        name = named(path)
        write(place(TWIN + name), arranged(twin(read(path), name), measured))


def entitle() -> None:
    """Give each graph that is still under its plain name, and its picture, the title that the table has."""
    for path in [path for path in WORKFLOWS.iterdir() if plain(path.stem) == path.stem]:
        path.replace(path.with_stem(titled(path.stem)))


def measure() -> Sizes:
    """The size of a fresh node of each type that a template has, the larger of both canvases, which is recorded."""
    from playwright.sync_api import sync_playwright

    fabricate_models(PLACE / "models")
    types = sorted({node["type"] for path in workflows() for node in read(path)["nodes"]})
    with Server(PLACE) as server, sync_playwright() as playwright:
        draw_inputs(PLACE / "input")
        browser = launched(playwright)
        found = [Editor(browser, server, nodes_2=nodes_2).fresh(types) for nodes_2 in (False, True)]
        browser.close()
    larger = {kind: [max(pair) for pair in zip(*(of[kind] for of in found), strict=True)] for kind in types}
    MEASURED.write_text(json.dumps(larger, indent=2) + "\n", encoding="utf-8")
    return larger


def write(path: Path, graph: dict[str, Any]) -> None:
    """Write a graph if it is not what the file holds."""
    text = json.dumps(graph, indent=2, ensure_ascii=False) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        print(path.name)


if __name__ == "__main__":
    main()
