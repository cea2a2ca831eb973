"""The picture of a template in ComfyUI's template browser, a square: what it made, and in a corner what went in."""

from math import ceil, sqrt
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from live.thumbnails import GROUND, Saved, drawn, scaled, shown

SIDE = 512  # pixels
INSET, FRAME = 150, 6  # of a reference: side with its white frame, and that frame
EDGE = 14  # to the edge of the picture, and between two references
DARK, LIGHT = "#1d1d1d", "#e6e6e6"  # around a picture of the editor; the words below it
FOOT, LETTERS = 64, 28  # room for these words; their size
NEEDED = {
    "composition": "needs SD1.5",
    "kolors": "needs Kolors",
    "flux_image_prompt": "needs Flux.1 [dev]",
    "instantid": "needs SDXL",
    "sd35_image_prompt": "needs SD3.5 Large",
    "anima_image_prompt": "needs Anima",
    "pulid": "needs SDXL",
    "instruction": "needs SD1.5",
}
"""Plain name of a graph without a twin, which has no result to show -> what its picture says instead."""


def card(graph: dict[str, Any], saved: list[Saved]) -> Image.Image:
    """What a graph saved, with its references over the lower edge."""
    paper = together([picture for one in saved for picture in one.pictures])
    for place, node in enumerate(drawn(graph)):
        inset = ImageOps.expand(scaled(shown(node, graph), INSET - 2 * FRAME), FRAME, "white")
        paper.paste(inset, (EDGE + place * (INSET + EDGE), SIDE - INSET - EDGE))
    return paper


def together(pictures: list[Image.Image]) -> Image.Image:
    """Pictures in a square, in rows and in order, none of them cut; a single one fills it."""
    columns = ceil(sqrt(len(pictures)))
    cell = (SIDE // columns, SIDE // ceil(len(pictures) / columns))
    paper = Image.new("RGB", (SIDE, SIDE), GROUND)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        whole = ImageOps.pad(scaled(picture, max(picture.height, cell[1])), cell, color=GROUND)
        paper.paste(whole, (column * cell[0], row * cell[1]))
    return paper


def of_editor(picture: Image.Image, words: str) -> Image.Image:
    """A picture of the editor, whole, in a square of its colour over words."""
    paper = Image.new("RGB", (SIDE, SIDE), DARK)
    paper.paste(ImageOps.pad(picture, (SIDE, SIDE - FOOT), color=DARK))
    middle, font = (SIDE // 2, SIDE - FOOT // 2), ImageFont.load_default(LETTERS)
    ImageDraw.Draw(paper).text(middle, words, LIGHT, font, anchor="mm")
    return paper
