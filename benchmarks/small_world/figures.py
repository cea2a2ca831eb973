"""Pictures of the evaluation: what was asked for beside what came out, and the curve of λ."""

from collections.abc import Mapping, Sequence

import torch
from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor

SHOWN, MARGIN, LABEL = 96, 4, 150  # pixels: the height of a picture, between pictures, for a row's name
PLOT = (640, 360)
FRAME = (60, 20, 480, 320)  # left, top, right, bottom of the plot's axes
INKS = ("#c0392b", "#2471a3", "#e59866", "#7fb3d5")


def sheet(rows: Mapping[str, Tensor]) -> Image.Image:
    """Rows of pictures (n, 3, h, w), 0 to 1, each with its name at the left."""
    height, width = next(iter(rows.values())).shape[2:]
    across, step = SHOWN * width // height, SHOWN + MARGIN
    count = max(len(pictures) for pictures in rows.values())
    canvas = Image.new("RGB", (LABEL + count * (across + MARGIN), len(rows) * step + MARGIN), "white")
    pen = ImageDraw.Draw(canvas)
    for row, (name, pictures) in enumerate(rows.items()):
        pen.multiline_text((MARGIN, MARGIN + row * step + step // 3), name, fill="black")
        for column, picture in enumerate(pictures):
            place = (LABEL + column * (across + MARGIN), MARGIN + row * step)
            canvas.paste(image(picture).resize((across, SHOWN), Image.Resampling.LANCZOS), place)
    return canvas


def image(picture: Tensor) -> Image.Image:
    """A picture (3, h, w), 0 to 1."""
    return Image.fromarray(rearrange(picture * 255, "c h w -> h w c").round().to(torch.uint8).numpy())


def plot(lines: Mapping[str, Sequence[tuple[float, float]]], across: str) -> Image.Image:
    """Lines of shares (0 to 1) over a number that begins at 0, with their names."""
    canvas = Image.new("RGB", PLOT, "white")
    pen = ImageDraw.Draw(canvas)
    left, top, right, bottom = FRAME
    largest = max(x for line in lines.values() for x, _ in line)
    pen.rectangle(FRAME, outline="#888888")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - share * (bottom - top)
        pen.line((left, y, right, y), fill="#dddddd")
        pen.text((left - 34, y - 6), f"{share:.0%}", fill="black")
    for x, _ in next(iter(lines.values())):
        pen.text((left + x / largest * (right - left) - 8, bottom + 6), f"{x:g}", fill="black")
    pen.text((right + 8, bottom + 6), across, fill="black")
    for number, ((name, line), ink) in enumerate(zip(lines.items(), INKS, strict=False)):
        points = [(left + x / largest * (right - left), bottom - y * (bottom - top)) for x, y in line]
        pen.line(points, fill=ink, width=3)
        for x, y in points:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=ink)
        pen.text((right + 12, top + 20 * number), name, fill=ink)
    return canvas
