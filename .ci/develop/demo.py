"""A picture grid from the real graph on a real server: reference pictures down, weights λ across.

The models are the small world's, which come with the package; the references are of combinations that none of them saw
in training. The left half has no text, the right half a text that disagrees.
"""

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from PIL import Image, ImageDraw, ImageFont  # noqa: E402

import package  # noqa: E402, F401  (loads the package)
from comfyui_ip_adapter.ip_adapter_core.small_world import world  # noqa: E402
from live.graphs import Graph, Node  # noqa: E402
from live.server import FAST_ATTENTION, Server  # noqa: E402

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
TEXTS = ("", "a large heart on a sunset background")
TOLD = ("heart", "sunset")  # of the text, so that no reference agrees with it
REFERENCES, UNSEEN = 6, 3  # how many; the series of scenes that the package's evaluation draws them from
ADAPTER = "small_world_base.safetensors"
SIDE, SHOWN, MARGIN, LINE = 256, 144, 8, 20  # pixels: drawn, and in the grid
CELL = SHOWN + MARGIN
SAMPLER = {"seed": 42, "steps": 20, "cfg": 4.0, "sampler_name": "ddim", "scheduler": "normal", "denoise": 1.0}
SPAN = {"start": 0.0, "end": 1.0, "unit": "percent"}

Look = dict[str, str]  # what IPA_SmallWorld is told, and the caption
Row = tuple[str, list[Image.Image]]  # caption; the reference, then its pictures


def main() -> None:
    """Make the grid and say where it is and how long it took."""
    start = time.monotonic()
    base = ROOT / ".host" / "demo"
    with Server(base, options=[FAST_ATTENTION]) as server:
        rows = [prompted(server, seed, look) for seed, look in enumerate(references())]
    place = base / "grid.png"
    grid(rows).save(place)
    counts = f"{len(rows)} references x {len(WEIGHTS)} weights x {len(TEXTS)} texts"
    print(f"{place} ({counts}, {time.monotonic() - start:.0f} s)")


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


def prompted(server: Server, seed: int, look: Look) -> Row:
    """The caption, the reference, and one picture for each text and weight: all of one prompt."""
    graph = Graph()
    loader = graph.add("CheckpointLoaderSimple", ckpt_name="small_world.safetensors")
    reference = graph.add("IPA_SmallWorld", seed=seed, **look)
    prompt = encoded(graph, reference)
    saved = [kept(graph, reference)]
    for text in TEXTS:
        saved += [kept(graph, drawn(graph, loader, prompt, text, weight)) for weight in WEIGHTS]
    result = server.run(graph)
    words = f"{look['size']} {look['colour']} {look['texture']} {look['shape']}, {look['place']}, {look['background']}"
    return words, [Image.fromarray(result.image(node.id)).convert("RGB") for node in saved]


def encoded(graph: Graph, reference: Node) -> Node:
    """The image prompt of a reference."""
    adapter = graph.add("IPA_LoadAdapter", file=ADAPTER)
    tower = graph.add("IPA_LoadVision", file="small_world_clip.safetensors", activation="auto")
    return graph.add("IPA_Encode", ip_adapter=adapter, clip_vision=tower, image=reference, fit="center crop")


def drawn(graph: Graph, loader: Node, prompt: Node, text: str, weight: float) -> Node:
    """A picture from a text and an image prompt."""
    model = graph.add("IPA_Apply", model=loader, image_prompt=prompt, weight=weight, **SPAN)
    positive, negative = (graph.add("CLIPTextEncode", text=words, clip=loader[1]) for words in (text, ""))
    latent = graph.add("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=1)
    inputs = {"model": model, "positive": positive, "negative": negative, "latent_image": latent}
    return graph.add("VAEDecode", samples=graph.add("KSampler", **inputs, **SAMPLER), vae=loader[2])


def kept(graph: Graph, image: Node) -> Node:
    """A picture that is saved."""
    return graph.add("SaveImage", images=image, filename_prefix=f"demo{time.monotonic_ns()}")


def grid(rows: list[Row]) -> Image.Image:
    """References in the first column, then for each text a column for each weight; captions under the rows."""
    top, step = 2 * LINE + MARGIN, CELL + LINE
    size = (CELL * (1 + len(TEXTS) * len(WEIGHTS)) + MARGIN * (2 + len(TEXTS)), top + step * len(rows))
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, label in enumerate(["reference", *(f"weight {weight:g}" for _ in TEXTS for weight in WEIGHTS)]):
        draw.text((across(column), MARGIN + LINE), label, "black", font)
    for half, text in enumerate(TEXTS):
        draw.text((across(1 + half * len(WEIGHTS)), MARGIN), f"text: “{text}”" if text else "no text", "black", font)
    for row, (caption, pictures) in enumerate(rows):
        for column, picture in enumerate(pictures):
            sheet.paste(picture.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS), (across(column), top + row * step))
        draw.text((MARGIN, top + row * step + SHOWN + 2), caption, "black", font)
    return sheet


def across(column: int) -> int:
    """Where a column begins; a little further apart are the reference and the texts."""
    return MARGIN + column * CELL + MARGIN * ((column + len(WEIGHTS) - 1) // len(WEIGHTS))


if __name__ == "__main__":
    main()
