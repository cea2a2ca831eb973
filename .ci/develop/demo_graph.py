"""A graph of workflows/ on the small world's models, as a picture: what goes in, an arrow, and what comes out.

`make demo GRAPH=two-adapters`, or in an environment with a ComfyUI `python .ci/develop/demo_graph.py two-adapters`.
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
from live.titles import TITLES, plain  # noqa: E402
from live.ui_graphs import TWIN, named, originals, place, read, to_prompt, twins  # noqa: E402

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

    Its title will do as well, with its number or without. Hyphens and spaces are as good as underscores; the prefix of
    the small world and a folder or ending may be there. Raises NoGraphError when there is no such graph, or the small
    world cannot run it.
    """
    name = _joined(plain(Path(wish.strip()).stem)).removeprefix(TWIN)
    name = {_joined(title): plain_name for plain_name, title in TITLES.items()}.get(name, name)
    runnable = {named(path).removeprefix(TWIN): path for path in twins()} | {name: place(name) for name in MINIATURES}
    if name in runnable:
        return name, runnable[name]
    names = ", ".join(sorted(runnable)).replace("_", "-")
    lacking = {named(path): sorted(needed(read(path)) - FILES.keys()) for path in originals()}
    if name in lacking:
        raise NoGraphError(
            f"The small world cannot run {name}: it has no small counterpart of {', '.join(lacking[name])}. "
            f"Open {place(name).name} of workflows/ in ComfyUI with the published models, or name one of {names}."
        )
    raise NoGraphError(f"There is no graph called {wish.strip()!r}; name one of {names}.")


def _joined(words: str) -> str:
    return words.lower().replace("-", "_").replace(" ", "_")


def run(graph: dict[str, Any], name: str) -> list[Saved]:
    """What each SaveImage node of a graph saves on a server of its own, from the top of the graph to the bottom."""
    savers = [node for node in graph["nodes"] if node["type"] == "SaveImage"]
    savers.sort(key=lambda node: (node["pos"][1], node["pos"][0]))
    base = PLACE
    if name in MINIATURES:
        base = PLACE / "miniature"
        stock(base, graph)
    with Server(base, options=[FAST_ATTENTION]) as server:
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
