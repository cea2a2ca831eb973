"""The pictures that the graphs of workflows/ take in: a small landscape, drawn, and the same with a hole as mask."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from fabricate.faces import Square, picture

EXAMPLE, MASKED, FACE = "example.png", "masked.png", "face.png"
SIZE = 512
DUSK = ((38, 50, 104), (120, 84, 150), (240, 130, 120), (255, 206, 130))  # the sky from top to bottom
RIDGES = (  # nearest last: (height of the ridge, its waves as (height, length, shift), colour)
    (300, ((38, 210, 0.4), (12, 61, 1.0)), (138, 104, 158)),
    (346, ((30, 150, 2.2), (9, 47, 0.3)), (96, 78, 138)),
    (392, ((20, 260, 4.0), (6, 33, 2.0)), (58, 56, 106)),
)
SUN = (352, 232, 50)  # across, down, radius
MASK_BOX = (96, 96, 288, 288)


def landscape(size: int = SIZE) -> Image.Image:
    """Hills at dusk over a lake, as RGB of `size` squared."""
    picture = Image.fromarray(sky())
    glow(picture)
    ImageDraw.Draw(picture).ellipse(around(*SUN), fill=(255, 244, 214))
    for ridge in RIDGES:
        ImageDraw.Draw(picture).polygon(outline(*ridge[:2]), fill=ridge[2])
    lake(picture)
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def sky() -> np.ndarray:
    """A vertical gradient, uint8 (SIZE, SIZE, 3), that ends where the lake begins."""
    stops = np.linspace(0, 380, len(DUSK))
    column = np.stack([np.interp(np.arange(SIZE), stops, channel) for channel in zip(*DUSK, strict=True)], axis=-1)
    return np.repeat(column[:, None], SIZE, axis=1).astype(np.uint8)


def glow(picture: Image.Image) -> None:
    """Light around the sun, painted into the picture."""
    x, y, radius = SUN
    light = Image.new("L", picture.size)
    ImageDraw.Draw(light).ellipse(around(x, y, 2 * radius), fill=150)
    picture.paste((255, 226, 170), mask=light.filter(ImageFilter.GaussianBlur(40)))


def around(x: int, y: int, radius: int) -> tuple[int, int, int, int]:
    """The box of a circle."""
    return x - radius, y - radius, x + radius, y + radius


def outline(height: int, waves: tuple[tuple[float, float, float], ...]) -> list[tuple[float, float]]:
    """A ridge as a polygon down to the lower edge."""
    across = np.arange(SIZE)
    tall, long, shift = (np.array(column)[:, None] for column in zip(*waves, strict=True))
    down = height + (tall * np.sin(across / long * 2 * np.pi + shift)).sum(0)
    return [(0, SIZE), *zip(across.tolist(), down.tolist(), strict=True), (SIZE, SIZE)]


def lake(picture: Image.Image, shore: int = 420) -> None:
    """What lies above the shore, mirrored, darker and still, painted below it."""
    above = picture.crop((0, 2 * shore - SIZE, SIZE, shore)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    water = Image.blend(above.filter(ImageFilter.BoxBlur(3)), Image.new("RGB", above.size, (52, 66, 124)), 0.45)
    picture.paste(water, (0, shore))


def masked(size: int = SIZE) -> Image.Image:
    """The landscape with a transparent box, which LoadImage gives as MASK."""
    picture = landscape().convert("RGBA")
    opaque = Image.new("L", picture.size, 255)
    ImageDraw.Draw(opaque).rounded_rectangle(MASK_BOX, 24, fill=0)
    picture.putalpha(opaque)
    return picture.resize((size, size), Image.Resampling.LANCZOS)


def face(size: int = SIZE) -> Image.Image:
    """What the fabricated face detector takes for a face."""
    drawn = picture(size, size, Square(size // 4, size // 4, size // 3))
    return Image.fromarray((drawn[0] * 255).byte().numpy())


def draw_inputs(folder: Path) -> None:
    """Put the pictures among the inputs of a server."""
    landscape().save(folder / EXAMPLE)
    masked().save(folder / MASKED)
    face().save(folder / FACE)
