"""A graph of workflows/ on the small world's models, as a picture: what goes in, an arrow, and what comes out.

`make demo GRAPH=two-adapters`, or GRAPH="08 Two adapters" or GRAPH=8; in an environment with a ComfyUI
`python .ci/develop/demo_graph.py two-adapters`.
A batch becomes a contact sheet, and an animation beside it. A graph of MINIATURES, for which the small world has no
models, runs on random weights instead, and its picture is noise.
"""

import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from PIL import Image  # noqa: E402

import package  # noqa: E402, F401  (loads the package)
from live.miniatures import MINIATURES, NOISE, drawn, shrunk, stock  # noqa: E402
from live.server import FAST_ATTENTION, Server  # noqa: E402
from live.small_world_graphs import needed  # noqa: E402
from live.small_world_tables import FILES  # noqa: E402
from live.thumbnails import Saved, sheet  # noqa: E402
from live.titles import DEMO, PACK, TITLES, TWIN, titled  # noqa: E402
from live.ui_graphs import named, originals, place, read, to_prompt, twins  # noqa: E402

PLACE = ROOT / ".host" / "demo"
FRAME = 120  # milliseconds that an animation shows each picture


class NoGraphError(ValueError):
    """A name that no graph has, or that of a graph which the small world cannot run."""


def main() -> None:
    """Run the graph that the command line names; say where its picture is and how long it took, or what is wrong."""
    try:
        name, path = chosen(" ".join(sys.argv[1:]))
    except NoGraphError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    start = time.monotonic()
    graph = drawn(read(path), name) if name in MINIATURES else read(path)
    saved = run(graph, name)
    written = write_files(graph, saved, name)
    print(f"{', '.join(map(str, written))} ({time.monotonic() - start:.0f} s)")
    if name in MINIATURES:
        print(NOISE)


def chosen(wish: str) -> tuple[str, Path]:
    """The plain name of a graph, and its file for the small world, or its own if it has a miniature.

    Its title will do as well, with its number or without, and its number alone. Capitals do not count, hyphens and
    spaces are as good as underscores; the prefix or the ending of a twin and a folder or ending may be there. Raises
    NoGraphError when there is no such graph, or the small world cannot run it.
    """
    name = _BY_NAME.get(_bare(wish), "")
    runnable = {named(path).removeprefix(TWIN): path for path in twins()} | {name: place(name) for name in MINIATURES}
    if name in runnable:
        return name, runnable[name]
    offered = ", ".join(f"{_short(name)} ({name.replace('_', '-')})" for name in TITLES if name in runnable)
    lacking = {named(path): sorted(needed(read(path)) - FILES.keys()) for path in originals()}
    if name in lacking:
        raise NoGraphError(
            f"The small world cannot run {name}: it has no small counterpart of {', '.join(lacking[name])}. "
            f"Open {place(name).name} of workflows/ in ComfyUI with the published models, or name one of {offered}."
        )
    raise NoGraphError(f"There is no graph called {wish.strip()!r}; name one of {offered}.")


def _short(name: str) -> str:
    """The title of a graph as ComfyUI shows it, without what all begin with."""
    return titled(name).removeprefix(f"{PACK} ")


def _names(name: str) -> set[str]:
    """All that a graph is called, by its plain name."""
    number, title = _short(name).split(" ", 1)
    short = number.lstrip("0")
    return {_joined(one) for one in (name, title, number, short, f"{short} {title}", _short(name), titled(name))}


def _bare(wish: str) -> str:
    """What a wish calls a graph, joined, without a folder, an ending, or what makes it the name of a twin."""
    last = _joined(wish.strip().replace("\\", "/").rsplit("/", 1)[-1])
    return last.removesuffix(".json").removesuffix(_joined(DEMO)).removeprefix(TWIN)


def _joined(words: str) -> str:
    return words.lower().replace("-", "_").replace(" ", "_")


_BY_NAME = {called: name for name in TITLES for called in _names(name)}
"""What a graph may be called -> its plain name."""


def run(graph: dict[str, Any], name: str) -> list[Saved]:
    """What each SaveImage node of a graph saves on a server of its own, from the top of the graph to the bottom."""
    savers = [node for node in graph["nodes"] if node["type"] == "SaveImage"]
    savers.sort(key=lambda node: (node["pos"][1], node["pos"][0]))
    base = PLACE
    if name in MINIATURES:
        base = PLACE / "miniature"
        stock(base, graph)
    with Server(base, options=[FAST_ATTENTION], all_cores=True) as server:
        prompt = shrunk(to_prompt(graph, server.object_info()), MINIATURES.get(name, {}))
        for node in savers:
            prompt[str(node["id"])]["inputs"]["filename_prefix"] = f"{name}_{node['id']}"
        result = server.run(prompt)
        return [Saved(node.get("title", ""), opened(result.images(str(node["id"])))) for node in savers]


def opened(pictures: list[Any]) -> list[Image.Image]:
    """Arrays as pictures."""
    return [Image.fromarray(picture).convert("RGB") for picture in pictures]


def write_files(graph: dict[str, Any], saved: list[Saved], name: str) -> list[Path]:
    """Write the sheet, and an animation of each batch, numbered from the second on; returns where they are."""
    sheet_place = PLACE / f"{name}.png"
    sheet(graph, saved).save(sheet_place)
    written = [sheet_place]
    for number, (first, *rest) in enumerate((one.pictures for one in saved if len(one.pictures) > 1), start=1):
        place = PLACE / f"{name}{f'_{number}' if number > 1 else ''}.gif"
        first.save(place, save_all=True, append_images=rest, duration=FRAME, loop=0)
        written.append(place)
    return written


if __name__ == "__main__":
    main()
