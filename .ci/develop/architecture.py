"""The picture of the rooms, docs/images/architecture.svg: `python .ci/develop/architecture.py` draws it again.

The rooms, their order and what they say of themselves are read from the folders and from pyproject.toml's contracts.
Only where a box lies from left to right, and which way the data goes, is written here.
"""

import ast
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # the linters bring it

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / ".ci"))

from develop.svg import (  # noqa: E402
    DATA,
    PAPER,
    Box,
    Boxes,
    arrow,
    bottom,
    box,
    filled,
    level,
    page,
    pill,
    rectangle,
    text,
    words,
)

PICTURE = ROOT / "docs" / "images" / "architecture.svg"
PACKAGE = "comfyui_ip_adapter"
CORE, HOST = "ip_adapter_core", "nodes/host"

WIDTH, LEFT, RIGHT = 900, 56, 844
LANE, GAP, RISE = 176, 10, 30  # the lane of the MODEL, at the left of nodes/; between boxes; between rows of the core
RESUME = LEFT + LANE + GAP  # where the boxes beside the lane begin

# Left end and width of each box of the core, and of what it is given.
PLACES = {
    "migrate": (516, 158),
    "identify": (684, 160),
    "plots": (550, 294),
    "compat": (56, 190),
    "attention": (56, 788),
    "prompts": (56, 244),
    "faces": (332, 128),
    "training": (516, 150),
    "catalogue": (684, 160),
    "adapters": (56, 190),
    "vision": (262, 154),
    "settings": (472, 372),
    "layers": (472, 200),
    "files": (56, 190),
    "text": (534, 180),
    "small_world": (724, 120),
}
GIVEN = {
    "an adapter file": (56, 190),
    "pictures": (262, 190),
    "a MODEL's configuration": (462, 182),
    "words, numbers, masks": (654, 190),
}


class Flow(NamedTuple):
    """Data that goes straight up at x, from one box to another; what it is, said on the arrow or so far beside it."""

    x: int
    start: str
    end: str
    what: str = ""
    beside: int = 0


FLOWS = (
    Flow(151, "an adapter file", "files"),
    Flow(151, "files", "adapters", "tensors"),
    Flow(151, "adapters", "prompts", "Adapter", 50),
    Flow(281, "vision", "prompts", "Features"),
    Flow(330, "pictures", "vision"),
    Flow(438, "pictures", "faces"),
    Flow(503, "a MODEL's configuration", "layers"),
    Flow(572, "layers", "settings", "Layers", 46),
    Flow(696, "words, numbers, masks", "text"),
    Flow(696, "text", "settings"),
    Flow(488, "settings", "attention", "layer weights", 46),
    Flow(151, "prompts", "attention", "ImagePrompt", 68),
    Flow(144, "attention", "sampling", "Application"),
)

HOSTS, CORES, BAND = ("#e4edf8", "#a8bfdc"), ("#f8f2e4", "#d9c79f"), "#f2e9d3"
ROOM, FILE = ("#ffffff", "#7f8f9e"), ("#f6f9fd", "#a8bfdc")


def layers(folder: str) -> list[list[str]]:
    """What lies in a folder, from the highest layer of its contract to the lowest."""
    container = f"{PACKAGE}.{folder.replace('/', '.')}"
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    rows = next(contract["layers"] for contract in contracts if contract.get("containers") == [container])
    return [[name.strip() for name in row.split("|")] for row in rows]


def rooms(folder: str) -> set[str]:
    """The folders in a folder that are rooms: packages of Python."""
    return {path.parent.name for path in (ROOT / folder).glob("*/__init__.py")}


def sentence(path: str) -> str:
    """What a room or a file says of itself first."""
    file_or_folder = ROOT / path
    file = file_or_folder / "__init__.py" if file_or_folder.is_dir() else file_or_folder.with_suffix(".py")
    said = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return said.split("\n\n")[0].replace("\n", " ").split(": `")[0].removesuffix(".") + "."


def core(y: float) -> Boxes:
    """The boxes of the core below y. Raises ValueError for a room without a place, and for a place without a room."""
    order = layers(CORE)
    there = {name for row in order for name in row}
    if odd := (rooms(CORE) - there) | (there ^ PLACES.keys()):
        raise ValueError(f"Put these into PLACES and into the core's contract, or into neither: {sorted(odd)}")
    boxes: Boxes = {}
    for row in order:
        row_boxes = level(box(PLACES[name][0], y, PLACES[name][1], name, sentence(f"{CORE}/{name}")) for name in row)
        boxes |= row_boxes
        y = bottom(row_boxes) + RISE
    return boxes


def host(y: float) -> Boxes:
    """The boxes of nodes/host below y: sampling in the lane of the MODEL, the others beside it."""
    boxes: Boxes = {}
    for row in layers(HOST):
        said = {name: sentence(f"{HOST}/{name}") if name in rooms(HOST) else "" for name in row}
        if "sampling" in said:
            boxes["sampling"] = box(LEFT, y, LANE, "sampling", said.pop("sampling"))
        boxes |= (row_boxes := beside_the_lane(y, said))
        y = bottom(row_boxes) + GAP
    return boxes


def nodes(y: float) -> Boxes:
    """The boxes of nodes/ but for the host's, below y."""
    others = {name: sentence(f"nodes/{name}") for name in sorted(rooms("nodes") - {"host"})}
    return beside_the_lane(y, {"nodes/": sentence("nodes"), **others})


def beside_the_lane(y: float, said: Mapping[str, str]) -> Boxes:
    """Boxes of equal width in a row, with what each says."""
    width = (RIGHT - RESUME + GAP) / len(said) - GAP
    return level(box(RESUME + number * (width + GAP), y, width, *it) for number, it in enumerate(said.items()))


def draw() -> str:
    """The whole picture, as the text of an SVG file."""
    classes = nodes(164)
    hosts = host(bottom(classes) + 72)
    inner = bottom(hosts) + 24
    cores = core(inner + 24)
    inputs = level(box(x, bottom(cores) + 56, width, name) for name, (x, width) in GIVEN.items())
    end = bottom(inputs) + 20
    parts = [
        *heading(),
        rectangle(Box(24, 142, 852, end - 142), HOSTS, 14),
        *words(RESUME, bottom(classes) + 30, "nodes/host/", sentence(HOST), RIGHT - RESUME),
        rectangle(Box(40, inner, 820, bottom(cores) + 24 - inner), CORES, 14),
        *bands(cores),
        *words(RESUME, inner + 32, "ip_adapter_core/", sentence(CORE), PLACES["migrate"][0] - RESUME - 20),
        *(shown(each, is_room=True) for each in classes.values()),
        *(shown(each, name in rooms(HOST)) for name, each in hosts.items()),
        *(shown(each, name in rooms(CORE)) for name, each in cores.items()),
        *(filled(each, (PAPER, DATA)) for each in inputs.values()),
        *flows({**hosts, **cores, **inputs}),
        *model(hosts["sampling"]),
    ]
    return page(parts, WIDTH, end + 24, "The rooms of the package in their layers, and the data that goes through them")


def heading() -> Iterable[str]:
    """What the picture is, and how to read it."""
    yield text(24, 42, "From a picture to a model that follows it", 22, "bold")
    yield text(24, 66, "Arrows are data: it comes in below and climbs to the MODEL.", 13, fill=DATA)
    yield text(24, 86, "Imports go the other way: what stands higher uses what stands lower, never the reverse.", 13)
    yield text(24, 106, "Bold names are rooms, which are folders; the others are files.", 13)


def bands(boxes: Boxes) -> Iterable[str]:
    """Every second layer a little darker, so that layers are seen."""
    rows = sorted({(each.y, each.height) for each in boxes.values()})
    for y, height in rows[1::2]:
        yield rectangle(Box(41, y - RISE / 2, 818, height + RISE), (BAND, BAND), 0)


def flows(known: Boxes) -> Iterable[str]:
    """All arrows from box to box, and the words on them."""
    faces, prompts = known["faces"], known["prompts"]
    yield arrow(faces.x, faces.y + faces.height / 2, prompts.x + prompts.width, faces.y + faces.height / 2)
    for flow in FLOWS:
        start, end = known[flow.start].y, known[flow.end].bottom
        yield arrow(flow.x, start, flow.x, end)
        if flow.what:
            yield pill(flow.x + flow.beside, (start + end) / 2 + 3, flow.what)


def model(sampling: Box) -> Iterable[str]:
    """The MODEL that comes in from ComfyUI's graph, and the one that goes out."""
    for x, start, end, what in ((98, 128, sampling.y, "MODEL"), (186, sampling.y, 128, "its clone")):
        yield arrow(x, start, x, end)
        yield pill(x, 180, what)


def shown(area: Box, is_room: bool) -> str:
    """The box of a folder or of a file."""
    return filled(area, ROOM, "bold") if is_room else filled(area, FILE)


if __name__ == "__main__":
    PICTURE.write_text(draw(), "utf-8")
    print(PICTURE.relative_to(ROOT))
