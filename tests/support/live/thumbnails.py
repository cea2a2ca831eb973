"""A graph of the small world as a picture: what goes in, an arrow, and what comes out. Thumbnails, and the demo."""

from collections.abc import Callable
from math import ceil
from typing import Any, NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont

from comfyui_ip_adapter.ip_adapter_core.small_world import canvas, drawing, people, portraits, world
from live.small_world_tables import CHOICES, PORTRAIT, TEXTS

GROUND, INK = "#f4f4f2", "#444444"
MARGIN, GAP, LINE = 20, 40, 36  # around; between pictures, where the sign is; for words
SIDE, TILE = canvas.PICTURE, 128  # pixels: of a reference; the height of one picture of a batch
ROW, SPACE = 8, 8  # of a batch: the most pictures side by side; pixels between them
PALE = 0.75  # how much white is over what of a reference is not read
TITLE, LETTERS = 16, 20  # size of the letters over a picture, and below the sheet


class Saved(NamedTuple):
    """What one SaveImage node saved, in order, and what that node is called."""

    title: str
    pictures: list[Image.Image]


def sheet(graph: dict[str, Any], saved: list[Saved]) -> Image.Image:
    """The references of a graph with its text if it has one, an arrow, and everything it saved."""
    references = [shown(node, graph) for node in drawn(graph)]
    outcome = together(saved)
    text = " ".join(words for words in map(said, graph["nodes"]) if words)
    across, height = len(references) * (SIDE + GAP) + outcome.width, max(SIDE * bool(references), outcome.height)
    rows = lines(text, across)
    paper = Image.new("RGB", (2 * MARGIN + across, 2 * MARGIN + height + LINE * len(rows)), GROUND)
    for place, picture in enumerate([*references, outcome]):
        paper.paste(picture, (MARGIN + place * (SIDE + GAP), MARGIN))
    signs(ImageDraw.Draw(paper), len(references) + 1, SIDE)
    for place, row in enumerate(reversed(rows)):
        write(paper, (paper.width // 2, paper.height - MARGIN - LINE // 4 - LINE * place), row, LETTERS)
    return paper


def lines(text: str, width: int) -> list[str]:
    """A text in lines no wider than this, of whole words."""
    rows: list[str] = []
    for word in text.split():
        longer = f"{rows[-1]} {word}" if rows else word
        fits = rows and ImageFont.load_default(LETTERS).getlength(longer) <= width
        rows[-1:] = [longer] if fits else [*rows[-1:], word]
    return rows


def drawn(graph: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes that give pictures of the small world to the graph."""
    nodes = (node for node in graph["nodes"] if node["type"] in ("IPA_SmallWorld", "IPA_SmallWorldPortrait"))
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
    """A picture of this height."""
    return picture.resize((round(height * picture.width / picture.height), height), Image.Resampling.LANCZOS)


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


def said(node: dict[str, Any]) -> str:
    """The text of a text prompt that has one, as a quotation."""
    value = node["widgets_values"][0] if node["type"] == "CLIPTextEncode" else ""
    return f"+ “{value}”" if value in TEXTS.values() else ""


def shown(node: dict[str, Any], graph: dict[str, Any]) -> Image.Image:
    """What a node gives to its graph: a portrait, or a row of VIEWS, the first whose output is read."""
    if node["type"] == "IPA_SmallWorldPortrait":
        return _as_image(portrait(node["widgets_values"]))
    *look, background, size, place, seed = node["widgets_values"][: len(CHOICES)]
    scene = world.compose((look[0], look[1], look[2]), background, size, place, seed)
    links = {link: output["name"] for output in node["outputs"] for link in output["links"] or ()}
    inputs = [put for one in graph["nodes"] for put in one.get("inputs", ())]
    read = {links[put["link"]] for put in inputs if put.get("link") in links}
    read |= {put["name"] for put in inputs if put["name"] in VIEWS and links.get(put.get("link")) == "mask"}
    (draw, *_) = (draw for name, draw in VIEWS.items() if name in read)
    return _as_image(draw([scene]))


def portrait(values: list[Any]) -> torch.Tensor:
    """What Small World Portrait draws, (1, 3, h, w)."""
    *words, person, seed = values[: len(PORTRAIT)]
    return portraits.draw([people.compose(words, person, seed)])


def _as_image(pictures: torch.Tensor) -> Image.Image:
    (picture,) = pictures
    return Image.fromarray((picture.movedim(0, -1) * 255).round().byte().numpy())


def hollow(scenes: list[world.Scene]) -> torch.Tensor:
    """Pictures of scenes with white where the mask is."""
    cover = drawing.covers(scenes)[:, None]
    return drawing.draw(scenes) * (1 - cover) + cover


def lit(scenes: list[world.Scene]) -> torch.Tensor:
    """Pictures of scenes, pale where the mask is not."""
    cover = drawing.covers(scenes)[:, None]
    return drawing.draw(scenes).lerp(torch.ones(1), (1 - cover) * PALE)


VIEWS: dict[str, Callable[[list[world.Scene]], torch.Tensor]] = {
    "outlines": drawing.outlines,
    "reference_mask": lit,
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
