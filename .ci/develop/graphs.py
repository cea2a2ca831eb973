"""Graphs that people share, opened in the editor and run: those of a folder, else those that the tests bring.

`make graphs`, or in an environment with a ComfyUI `python .ci/develop/graphs.py ../shared/graphs`. Of a folder, the
table goes to docs/shared-graphs.md too.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT / "tests" / "support"), str(ROOT / ".ci")]  # not this folder, which has a browser.py too

from playwright.sync_api import sync_playwright  # noqa: E402

from browser.editor import Editor, launched  # noqa: E402
from live.server import FAST_ATTENTION, Server  # noqa: E402
from shared_graphs.disk import furnish, furnish_embeds  # noqa: E402
from shared_graphs.table import line, page, summary  # noqa: E402
from shared_graphs.trial import Trial, tried  # noqa: E402
from shared_graphs.written import WRITTEN  # noqa: E402

PAGE = ROOT / "docs" / "shared-graphs.md"
PLACE = ROOT / ".host" / "graphs"


def main() -> None:
    """Try every graph, say what became of it, and count; the exit status is 1 when one did not open or run."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    trials: dict[str, Trial] = {}
    for name, trial in try_all(folder if folder and folder.is_dir() else None):
        trials[name] = trial
        print(line(name, trial), flush=True)
    print(summary(trials))
    if folder and folder.is_dir():
        PAGE.write_text(page(trials), encoding="utf-8")
    sys.exit(any(trial.wrong or not (trial.ran or trial.refusal) for trial in trials.values()))


def try_all(folder: Path | None) -> Iterator[tuple[str, Trial]]:
    """Each graph by name, with what became of it."""
    furnish(PLACE)
    with Server(PLACE, options=[FAST_ATTENTION]) as server, sync_playwright() as playwright:
        described = server.object_info()
        shared = dict(graphs(folder, described))
        furnish_embeds(PLACE / "input", shared)
        browser = launched(playwright)
        editor = Editor(browser, server)
        for name, graph in shared.items():
            yield name, tried(editor, graph, name, described)
        editor.page.unroute_all(behavior="ignoreErrors")
        browser.close()


def graphs(folder: Path | None, described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The graphs of a folder, or those that the tests bring."""
    if folder is None:
        yield from ((name, write(described)) for name, write in WRITTEN.items())
    else:
        yield from ((path.name, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json")))


if __name__ == "__main__":
    main()
