"""How what is shipped was trained: steps, time and loss of every part, as a page with pictures."""

import json
import platform

from PIL import Image, ImageDraw

from ...ip_adapter_core.plots import loss
from ...ip_adapter_core.plots.drawing import INK, PAPER
from .shelf import EVERY, MODELS, RECORDS

PAGE = MODELS / "TRAINING.md"
ADAPTERS = {
    "base": "IP-Adapter base",
    "plus": "IP-Adapter plus",
    "simple": "simple adapter (image tokens behind the text's)",
}
LEARNS = {
    "echo": "what its attention answers, and what the caption's does; its share of the variance",
    "adapter": "by the package's trainer: v",
}
PARTS = {
    "clip_0": "CLIP: pictures and captions told apart in batches of 128, most alike in all but one attribute",
    "clip_1": "the same, second cycle: similarities times 16 at most",
    "clip_2": "the same, third cycle: times 8 at most",
    "judge": "judge: six attributes of a picture with one object",
    "base_0": "text-to-image model and its text encoder: v, weighed by noise level",
    "base_1": "the same, second cycle",
    "base_2": "the same, third cycle",
    "autoencoder": "autoencoder: pictures of sketches, and back; the mean difference of each pixel",
    **{f"{part}_{kind}": f"{what}: {said}" for kind, what in ADAPTERS.items() for part, said in LEARNS.items()},
    "controlnet": "ControlNet: v, given outlines",
    "style": "LoRA: v of pastel pictures, as the model would have it of the same pictures without chalk",
    "faces_base_0": "text-to-image model of portraits: the one above, taught people",
    "faces_base_1": "the same, second cycle",
    "faces_base_2": "the same, third cycle; an error in a face counts up to seven times",
    "faces_base_3": "the same, fourth cycle",
    "faces_decoder": "its autoencoder: the one above, taught people",
    "faces_judge": "judge of portraits: who is shown and how",
    "faces_recogniser": "face recognition, 512 numbers: 1200 people told apart by angle, with a margin",
    "faces_detector": "face detection: where a face is, its box and five points",
    "faces_faceid": "FaceID adapter: by the package's trainer, v",
    "faces_faceid_plusv2": "FaceID-Plus v2 adapter: the same",
    "faces_portrait": "portrait adapter: the same",
}
COLUMNS = 2
LEAVES = """
## Where the paper's recipe is left, and why

- **Thousands of steps instead of a million**: a rate of 2e-3 with warm-up and a cosine instead of 1e-4, and averaged
  weights.
- **The text says little**: in half of the examples nothing, in the others half of the words, the shape included. A text
  that always names the shape leaves the image nothing to tell of it.
- **Adapters begin as an echo of the captions**: before the trainer's first step their attention learns to answer as the
  attention to the caption does, without the model around it. From nothing, thousands of steps leave plus behind base.
- **The resampler's latents begin at the size of what attention adds to them** (plus only). The published beginning is
  made for a width of 768 and more; at 128 its 16 tokens would begin nearly alike.
- **The models draw sketches**, 32×32 and flat, which the autoencoder makes pictures of. CLIP reads sketches as well; to
  a probe a picture, shrunk to the encoder's 32 pixels, is nearly the same, but textures suffer (HISTORY.md), so the
  adapters read pictures.
- **The ControlNet learns with captions that are wrong** about shape, size and place: so outlines have the last word.
- **FaceID and portrait learn from another portrait of the same person**, published ones from the picture itself. So
  expression and glasses do not come from the face. FaceID-Plus learns from one with the same expression and glasses in
  other clothes before another background, so these do not come from the face's picture.
- **FaceID and FaceID-Plus have no LoRA**, FaceID-Plus one layer in its resampler instead of four, and portrait 8 tokens
  instead of 16: all models together must stay small.
- **An error around eyes, nose and mouth counts up to seven times**, for the adapters of faces and in the later cycles
  of the model that draws them: those few pixels are what a face shows.
- **The CLIP is our own**, and its batches are hard on purpose: three quarters are groups alike in all but one
  attribute.

What was tried on the way is in [HISTORY.md](HISTORY.md).
"""


def main() -> None:
    """Write the page and its picture from what the recipe recorded."""
    recorded = {name: json.loads((RECORDS / f"{name}.json").read_text()) for name in PARTS}
    rows = [row(PARTS[name], **one) for name, one in recorded.items()]
    head = f"# How the small world was trained\n\nOn {platform.machine()}, two CPU cores that did other work as well.\n"
    table = ["| what, and what its loss is | steps | time | first loss | last loss |", "|---|---|---|---|---|", *rows]
    kept = f"Losses are means of {EVERY} steps, or of a fifth of a short part"
    said = f"{kept}; of a part without a curve the first and the last were kept."
    PAGE.write_text("\n".join([head, *table, "", said, "", "![](images/losses.png)", LEAVES]))
    (MODELS / "images").mkdir(exist_ok=True)
    curves = {name: one["losses"] for name, one in recorded.items() if len(one["losses"]) > 2}
    if curves:
        pictures(curves).save(MODELS / "images" / "losses.png", optimize=True)


def row(what: str, steps: int, seconds: int, losses: list[float]) -> str:
    """A line of the table."""
    return f"| {what} | {steps} | {seconds / 60:.0f} min | {losses[0]:.4f} | {losses[-1]:.4f} |"


def pictures(curves: dict[str, list[float]]) -> Image.Image:
    """The curves side by side, in the order of the table, each with its name."""
    drawn = [named(loss.draw(losses).reduce(2), name) for name, losses in curves.items()]
    width, height = drawn[0].size
    sheet = Image.new("RGB", (width * COLUMNS, height * -(-len(drawn) // COLUMNS)), PAPER)
    for number, picture in enumerate(drawn):
        sheet.paste(picture, (number % COLUMNS * width, number // COLUMNS * height))
    return sheet


def named(picture: Image.Image, name: str) -> Image.Image:
    """A curve with its name above it."""
    ImageDraw.Draw(picture).text((picture.width // 2, 0), name, INK, anchor="ma")
    return picture
