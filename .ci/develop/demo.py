"""A picture grid from the real graph on a real server: reference pictures down, weights λ across.

The models are the small world's, which come with the package; the references are of combinations that none of them saw
in training. The left half has no text, the right half a text that disagrees; each is a sheet of Image Prompt Grid.
"""

import sys
import time
from functools import reduce
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from PIL import Image, ImageDraw  # noqa: E402

import package  # noqa: E402, F401  (loads the package)
from comfyui_ip_adapter.ip_adapter_core.plots.drawing import INK, PAPER, font  # noqa: E402
from comfyui_ip_adapter.ip_adapter_core.small_world import world  # noqa: E402
from live.graphs import Graph, Node  # noqa: E402
from live.server import FAST_ATTENTION, Server  # noqa: E402

WEIGHTS = {  # of each text; at 0 the text alone is drawn
    "": "0.25, 0.5, 0.75, 1",
    "a large heart on a sunset background": "0, 0.25, 0.5, 0.75, 1",
}
TOLD = ("heart", "sunset")  # of the text, so that no reference agrees with it
REFERENCES, UNSEEN = 6, 3  # how many; the series of scenes that the package's evaluation draws them from
ADAPTER = "small_world_base.safetensors"
SIDE = 256  # pixels of a picture
SHRUNK, LETTERS = 2, 22  # how many times smaller the sheets are shown; pixels of what is written above them
AXES = {"across": "weight", "down": "reference", "down_values": ""}
ALIKE = {"weight": 1.0, "weight_type": "linear", "start": 0.0, "end": 1.0, "fit": "center crop"}
SAMPLER = {"seed": 42, "steps": 20, "cfg": 4.0, "sampler_name": "ddim", "scheduler": "normal", "denoise": 1.0}

Look = dict[str, str]  # what IPA_SmallWorld is told


def main() -> None:
    """Make the grid and say where it is and how long it took."""
    start = time.monotonic()
    base = ROOT / ".host" / "demo"
    graph, sheets = drawn(references())
    with Server(base, options=[FAST_ATTENTION], all_cores=True) as server:
        result = server.run(graph)
        pictures = [Image.fromarray(result.image(sheet.id)) for sheet in sheets]
    place = base / "grid.png"
    beside(pictures).save(place)
    print(f"{place} ({REFERENCES} references, without and with a text, {time.monotonic() - start:.0f} s)")


def references() -> list[Look]:
    """Looks that no model saw in training, each of another shape, and none as the text says."""
    found: dict[str, Look] = {}
    for index in range(1000):
        scene = world.scene(UNSEEN, index, unseen=True, objects=1)
        (thing,) = scene.objects
        names = ("shape", "colour", "texture", "size", "place")
        look = {name: getattr(thing, name) for name in names} | {"background": scene.background}
        if not set(TOLD) & set(look.values()):
            found.setdefault(thing.shape, look)
    return list(found.values())[:REFERENCES]


def drawn(looks: list[Look]) -> tuple[Graph, list[Node]]:
    """A graph that draws the references, and for each text a sheet of what they do; and the nodes that save these."""
    graph = Graph()
    loader = graph.add("CheckpointLoaderSimple", ckpt_name="small_world.safetensors")
    pictures = [graph.add("IPA_SmallWorld", seed=seed, **look) for seed, look in enumerate(looks)]
    sockets = {
        "model": loader,
        "vae": loader[2],
        "ip_adapter": graph.add("IPA_LoadAdapter", file=ADAPTER),
        "clip_vision": graph.add("IPA_LoadVision", file="small_world_clip.safetensors", activation="auto"),
        "references": reduce(lambda one, other: graph.add("ImageBatch", image1=one, image2=other), pictures),
        "negative": graph.add("CLIPTextEncode", text="", clip=loader[1]),
        "latent": graph.add("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=1),
    }
    saved = []
    for text, weights in WEIGHTS.items():
        positive = graph.add("CLIPTextEncode", text=text, clip=loader[1])
        grid = graph.add("IPA_Grid", positive=positive, across_values=weights, **sockets, **AXES, **ALIKE, **SAMPLER)
        saved.append(graph.add("SaveImage", images=grid, filename_prefix="demo"))
    return graph, saved


def beside(sheets: list[Image.Image]) -> Image.Image:
    """The sheets beside each other, smaller, each under its text."""
    small = [sheet.convert("RGB").reduce(SHRUNK) for sheet in sheets]
    whole = Image.new("RGB", (sum(sheet.width for sheet in small), small[0].height + LETTERS), PAPER)
    draw, left = ImageDraw.Draw(whole), 0
    for text, sheet in zip(WEIGHTS, small, strict=True):
        whole.paste(sheet, (left, LETTERS))
        said = f"text: “{text}”" if text else "no text"
        draw.text((left + sheet.width // 2, LETTERS), said, INK, font(LETTERS), "mm")
        left += sheet.width
    return whole


if __name__ == "__main__":
    main()
