"""How what is shipped was trained: steps, time and loss of every part, as a page with pictures."""

import json
import platform

from PIL import Image

from ...ip_adapter_core.plots import loss
from ...ip_adapter_core.plots.drawing import PAPER
from .shelf import EVERY, FOLDER, MODELS

PAGE = MODELS / "TRAINING.md"
PARTS = {
    "clip": "CLIP: pictures and captions told apart in batches of 128",
    "judge": "judge: six attributes of a picture with one object",
    "base_0": "text-to-image model and its text encoder: v, weighed by noise level",
    "base_1": "the same, second cycle",
    "base_2": "the same, third cycle",
    "adapter_base": "IP-Adapter base, by the package's trainer: v",
    "adapter_plus": "IP-Adapter plus, likewise",
    "adapter_simple": "simple adapter (image tokens behind the text's), likewise",
    "controlnet": "ControlNet: v, given outlines",
    "style": "LoRA: v of pastel pictures",
}
COLUMNS = 2


def main() -> None:
    """Write the page and its picture from what the recipe recorded."""
    recorded = {name: json.loads((FOLDER / f"{name}.json").read_text()) for name in PARTS}
    rows = [row(PARTS[name], **one) for name, one in recorded.items()]
    head = f"# How the small world was trained\n\nOn {platform.machine()}, two CPU cores that did other work as well.\n"
    table = ["| what, and what its loss is | steps | time | first loss | last loss |", "|---|---|---|---|---|", *rows]
    PAGE.write_text(
        "\n".join([head, *table, "", f"Losses are means of {EVERY} steps.", "", "![](images/losses.png)", ""])
    )
    (MODELS / "images").mkdir(exist_ok=True)
    pictures(recorded).save(MODELS / "images" / "losses.png", optimize=True)


def row(what: str, steps: int, seconds: int, losses: list[float]) -> str:
    """A line of the table."""
    return f"| {what} | {steps} | {seconds / 60:.0f} min | {losses[0]:.4f} | {losses[-1]:.4f} |"


def pictures(recorded: dict[str, dict]) -> Image.Image:
    """The curves side by side, in the order of the table."""
    drawn = [loss.draw(one["losses"]).reduce(2) for one in recorded.values()]
    width, height = drawn[0].size
    sheet = Image.new("RGB", (width * COLUMNS, height * -(-len(drawn) // COLUMNS)), PAPER)
    for number, picture in enumerate(drawn):
        sheet.paste(picture, (number % COLUMNS * width, number // COLUMNS * height))
    return sheet
