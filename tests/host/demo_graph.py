"""A graph of workflows/ on the small world's models, as a picture: what goes in, an arrow, and what comes out.

`make demo GRAPH=two-adapters`, or in an environment with a ComfyUI `python tests/host/demo_graph.py two-adapters`.
A batch becomes a contact sheet, and an animation beside it.
"""

import sys
import time
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

if "comfyui_ip_adapter" not in sys.modules:  # in a test it is there, and a second copy would have classes of its own
    import conftest  # noqa: F401  (loads the package)

from PIL import Image, ImageDraw, ImageFont  # noqa: E402

from live.server import FAST_ATTENTION, Server  # noqa: E402
from live.small_world_graphs import FILES, needed  # noqa: E402
from live.thumbnails import GAP, GROUND, LINE, MARGIN, VIEWS, said, shown, signs, write  # noqa: E402
from live.ui_graphs import TWIN, originals, read, to_prompt, twins  # noqa: E402

PLACE = TESTS.parent / ".host" / "demo"
SIDE, TILE = 256, 128  # pixels: of a reference; the height of one picture of a batch
ROW, SPACE = 8, 8  # of a batch: the most pictures side by side; pixels between them
TITLE = 16  # size of the letters over a picture
FRAME = 120  # milliseconds that an animation shows each picture


class NoGraphError(ValueError):
    """A name that no graph has, or that of a graph which the small world cannot run."""


class Saved(NamedTuple):
    """What one SaveImage node saved, in order, and what that node is called."""

    title: str
    pictures: list[Image.Image]


def main() -> None:
    """Run the graph that the command line names; say where its picture is and how long it took, or what is wrong."""
    try:
        name, path = chosen(" ".join(sys.argv[1:]))
    except NoGraphError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    start = time.monotonic()
    graph = read(path)
    saved = run(graph, name)
    written = write_files(graph, saved, name)
    print(f"{', '.join(map(str, written))} ({time.monotonic() - start:.0f} s)")


def chosen(wish: str) -> tuple[str, Path]:
    """The plain name of a graph, and its file for the small world.

    Hyphens and spaces are as good as underscores; the prefix of the small world and a folder or ending may be there.
    Raises NoGraphError when there is no such graph, or the small world cannot run it.
    """
    name = Path(wish.strip().lower()).stem.replace("-", "_").replace(" ", "_").removeprefix(TWIN)
    runnable = {path.stem.removeprefix(TWIN): path for path in twins()}
    if name in runnable:
        return name, runnable[name]
    names = ", ".join(sorted(runnable)).replace("_", "-")
    lacking = {path.stem: sorted(needed(read(path)) - FILES.keys()) for path in originals()}
    if name in lacking:
        raise NoGraphError(
            f"The small world cannot run {name}: it has no small counterpart of {', '.join(lacking[name])}. "
            f"Open workflows/{name}.json in ComfyUI with the published models, or name one of {names}."
        )
    raise NoGraphError(f"There is no graph called {wish.strip()!r}; name one of {names}.")


def run(graph: dict[str, Any], name: str) -> list[Saved]:
    """What each SaveImage node of a graph saves on a server of its own, from the top of the graph to the bottom."""
    savers = [node for node in graph["nodes"] if node["type"] == "SaveImage"]
    savers.sort(key=lambda node: (node["pos"][1], node["pos"][0]))
    with Server(PLACE, options=[FAST_ATTENTION]) as server:
        prompt = to_prompt(graph, server.object_info())
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


def sheet(graph: dict[str, Any], saved: list[Saved]) -> Image.Image:
    """The references of a graph with its text if it has one, an arrow, and everything it saved."""
    references = [shown(node).resize((SIDE, SIDE), Image.Resampling.NEAREST) for node in drawing(graph)]
    outcome = together(saved)
    text = " ".join(words for words in map(said, graph["nodes"]) if words)
    across, height = len(references) * (SIDE + GAP) + outcome.width, max(SIDE * bool(references), outcome.height)
    paper = Image.new("RGB", (2 * MARGIN + across, 2 * MARGIN + height + LINE * bool(text)), GROUND)
    for place, picture in enumerate([*references, outcome]):
        paper.paste(picture, (MARGIN + place * (SIDE + GAP), MARGIN))
    signs(ImageDraw.Draw(paper), len(references) + 1, SIDE)
    write(paper, (paper.width // 2, paper.height - MARGIN - LINE // 4), text, 20)
    return paper


def drawing(graph: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes that give pictures of the small world to the graph."""
    nodes = (node for node in graph["nodes"] if node["type"] == "IPA_SmallWorld")
    return [node for node in nodes if any(output["links"] for output in node["outputs"] if output["name"] in VIEWS)]


def together(saved: list[Saved]) -> Image.Image:
    """Single pictures side by side, or batches one below the other; with their titles where there are several."""
    blocks = [titled(contact(one.pictures), one.title if len(saved) > 1 else "") for one in saved]
    single = all(len(one.pictures) == 1 for one in saved)
    return laid(blocks, len(blocks) if single else 1, MARGIN)


def contact(pictures: list[Image.Image]) -> Image.Image:
    """One picture as it is, a tiny one enlarged; several small, in rows of equal length as far as they go, in order."""
    if len(pictures) == 1:
        return scaled(pictures[0], pictures[0].height * max(1, SIDE // pictures[0].height))
    rows = ceil(len(pictures) / ROW)
    return laid([scaled(picture, TILE) for picture in pictures], ceil(len(pictures) / rows), SPACE)


def scaled(picture: Image.Image, height: int) -> Image.Image:
    """A picture of this height, with crisp pixels."""
    return picture.resize((round(height * picture.width / picture.height), height), Image.Resampling.NEAREST)


def titled(picture: Image.Image, title: str) -> Image.Image:
    """A picture with its title above, if it has one."""
    if not title:
        return picture
    width = max(picture.width, ceil(ImageFont.load_default(TITLE).getlength(title)))
    paper = Image.new("RGB", (width, picture.height + LINE), GROUND)
    paper.paste(picture, (0, LINE))
    write(paper, (width // 2, LINE // 2), title, TITLE)
    return paper


def laid(pictures: list[Image.Image], columns: int, space: int) -> Image.Image:
    """Pictures in rows, in order, so far apart; a column is as wide as its widest, a row as high as its highest."""
    widths = [max(picture.width for picture in pictures[column::columns]) + space for column in range(columns)]
    starts = range(0, len(pictures), columns)
    heights = [max(picture.height for picture in pictures[start : start + columns]) + space for start in starts]
    paper = Image.new("RGB", (sum(widths) - space, sum(heights) - space), GROUND)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        paper.paste(picture, (sum(widths[:column]), sum(heights[:row])))
    return paper


if __name__ == "__main__":
    main()
