"""The thumbnails of the small world's graphs: what goes in, an arrow, and what comes out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from comfyui_ip_adapter.models.small_world import drawing, world
from live.small_world_graphs import CHOICES, ENLARGED, TEXTS

GROUND, INK = "#f4f4f2", "#444444"
MARGIN, GAP, LINE = 20, 40, 36  # around; between pictures, where the sign is; for words
SCALES = {2: 7, 3: 5}  # by the number of pictures: pixels per pixel


def sheet(graph: dict[str, Any], result: np.ndarray) -> Image.Image:
    """The references of a twin, its text if it has one, and its saved picture, on one sheet."""
    nodes = [node for node in graph["nodes"] if node["type"] == "IPA_SmallWorld"]
    pictures = [*(shown(node) for node in nodes), Image.fromarray(result[::ENLARGED, ::ENLARGED])]
    side = world.SIDE * SCALES[len(pictures)]
    text = " ".join(value for value in map(said, graph["nodes"]) if value)
    paper = blank(len(pictures), side, bool(text))
    for place, picture in enumerate(pictures):
        paper.paste(picture.resize((side, side), Image.Resampling.NEAREST), (MARGIN + place * (side + GAP), MARGIN))
    signs(ImageDraw.Draw(paper), len(pictures), side)
    write(paper, (paper.width // 2, paper.height - MARGIN - LINE // 4), text, 20)
    return paper


def blank(count: int, side: int, worded: bool) -> Image.Image:
    """Paper for so many pictures in a row, and perhaps for words under them."""
    width = 2 * MARGIN + count * side + (count - 1) * GAP
    return Image.new("RGB", (width, 2 * MARGIN + side + LINE * worded), GROUND)


def said(node: dict[str, Any]) -> str:
    """The text of a text prompt that has one, as a quotation."""
    value = node["widgets_values"][0] if node["type"] == "CLIPTextEncode" else ""
    return f"+ “{value}”" if value in TEXTS.values() else ""


def shown(node: dict[str, Any]) -> Image.Image:
    """What a node gives to the graph: its outlines, its picture with the mask as a hole, or its picture."""
    *look, background, size, place, seed = node["widgets_values"][: len(CHOICES)]
    scene = world.wished((look[0], look[1], look[2]), background, size, place, seed)
    read = {output["name"] for output in node["outputs"] if output["links"]}
    (draw, *_) = (draw for name, draw in VIEWS.items() if name in read)
    (picture,) = draw([scene])
    return Image.fromarray((picture.movedim(0, -1) * 255).round().byte().numpy())


def hollow(scenes: list[world.Scene]) -> torch.Tensor:
    """Pictures of scenes with white where the mask is."""
    cover = drawing.covers(scenes)[:, None]
    return drawing.draw(scenes) * (1 - cover) + cover


VIEWS: dict[str, Callable[[list[world.Scene]], torch.Tensor]] = {
    "outlines": drawing.outlines,
    "mask": hollow,
    "image": drawing.draw,
}


def signs(draw: ImageDraw.ImageDraw, count: int, side: int) -> None:
    """A plus between references, an arrow before the result."""
    y = MARGIN + side // 2
    for place in range(1, count):
        x = MARGIN + place * (side + GAP) - GAP // 2
        draw.line((x - 10, y, x + 10, y), INK, 4)
        if place < count - 1:
            draw.line((x, y - 10, x, y + 10), INK, 4)
        else:
            draw.polygon(((x + 4, y - 9), (x + 14, y), (x + 4, y + 9)), INK)


def write(paper: Image.Image, middle: tuple[int, int], text: str, size: int) -> None:
    """Words around a point."""
    ImageDraw.Draw(paper).text(middle, text, INK, ImageFont.load_default(size), anchor="mm")
