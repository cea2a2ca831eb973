"""A picture grid from the real graph on a real server: reference pictures down, weights λ across.

The models are miniatures with random weights: the grid shows that the image prompt acts, not how well.
"""

import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

import numpy as np  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from live.graphs import text_to_image  # noqa: E402
from live.models import fabricate_models  # noqa: E402
from live.pictures import landscape  # noqa: E402
from live.prompting import Prompted  # noqa: E402
from live.published import BASE, CHECKPOINT, ENCODER  # noqa: E402
from live.server import FAST_ATTENTION, Server  # noqa: E402

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
SIZE, MARGIN, LABEL = 192, 8, 20


def main() -> None:
    """Make the grid and say where it is and how long it took."""
    start = time.monotonic()
    base = TESTS.parent / ".host" / "demo"
    fabricate_models(base / "models")
    with Server(base, options=[FAST_ATTENTION]) as server:
        rows = [(reference, prompted(server, name)) for name, reference in uploaded(server)]
    place = base / "grid.png"
    grid(rows).save(place)
    print(f"{place} ({len(rows)} references x {len(WEIGHTS)} weights, {time.monotonic() - start:.0f} s)")


def references() -> dict[str, Image.Image]:
    """Three pictures that an encoder can tell apart."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    stripes = np.stack([np.sin(40 * (x + y)) > 0, x > 0.5, y > 0.5], axis=-1) * 255
    disc = np.stack([(x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1, x * 0, 1 - y], axis=-1) * 255
    drawn = {"stripes": stripes, "disc": disc}
    return {"landscape": landscape(SIZE)} | {name: Image.fromarray(p.astype(np.uint8)) for name, p in drawn.items()}


def uploaded(server: Server) -> list[tuple[str, Image.Image]]:
    """The references, among the server's inputs."""
    return [(server.upload(f"{name}.png", np.asarray(picture)), picture) for name, picture in references().items()]


def prompted(server: Server, reference: str) -> list[Image.Image]:
    """One picture for each weight."""
    hooks = [Prompted(weight, adapter=BASE, tower=ENCODER, images=(reference,)) for weight in WEIGHTS]
    graphs = [text_to_image(hook, checkpoint=CHECKPOINT, text="", size=SIZE, steps=8) for hook in hooks]
    return [Image.fromarray(server.run(graph).image()) for graph in graphs]


def grid(rows: list[tuple[Image.Image, list[Image.Image]]]) -> Image.Image:
    """References in the first column, then a column for each weight."""
    step = SIZE + MARGIN
    sheet = Image.new("RGB", (step * (len(WEIGHTS) + 1) + MARGIN, step * len(rows) + MARGIN + LABEL), "white")
    draw = ImageDraw.Draw(sheet)
    for column, label in enumerate(["reference", *(f"weight {weight:g}" for weight in WEIGHTS)]):
        draw.text((MARGIN + column * step, MARGIN // 2), label, fill="black")
    for row, (reference, pictures) in enumerate(rows):
        for column, picture in enumerate([reference, *pictures]):
            sheet.paste(picture.convert("RGB"), (MARGIN + column * step, LABEL + row * step))
    return sheet


if __name__ == "__main__":
    main()
