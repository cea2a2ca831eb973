"""What all drawn pictures share: the colours of paper and ink, letters in any size, and small pictures."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

PAPER, INK, FAINT = "#ffffff", "#303030", "#707070"


@lru_cache
def font(size: int) -> FreeTypeFont | ImageFont:
    """PIL's own letters, this many pixels high."""
    from PIL import ImageFont

    return ImageFont.load_default(size)


def width(text: str, size: int) -> float:
    """Pixels that a text takes in letters of this size."""
    return font(size).getlength(text)


def lines(text: str, room: int, size: int, most: int) -> list[str]:
    """A text in at most so many lines of this many pixels, broken at blanks; what is too long ends with an ellipsis."""
    broken = [""]
    for word in text.split():
        longer = f"{broken[-1]} {word}".strip()
        if width(longer, size) <= room or not broken[-1]:
            broken[-1] = longer
        else:
            broken.append(word)
    if len(broken) > most:
        broken[most - 1 :] = [" ".join(broken[most - 1 :])]
    return [_cut(line, room, size) for line in broken]


def thumbnail(picture: Tensor, longest: int) -> Image:
    """A picture (height, width, channels), 0..1, with its long side at this many pixels, in RGB.

    What is smaller is enlarged in whole pixels, so that nothing is made up.
    """
    from PIL import Image

    pixels = picture[..., :3].detach().cpu().float().nan_to_num().clamp(0, 1)
    levels = (pixels.expand(*pixels.shape[:2], 3).numpy() * 255).round().astype(np.uint8)
    drawn, scale = Image.fromarray(levels), longest / max(levels.shape[:2])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in drawn.size]
        return drawn.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    times = int(scale)
    return drawn.resize((drawn.width * times, drawn.height * times), Image.Resampling.NEAREST)


def _cut(line: str, room: int, size: int) -> str:
    if width(line, size) <= room:
        return line
    kept = next((n for n in range(len(line), 0, -1) if width(line[:n] + "…", size) <= room), 0)
    return line[:kept] + "…"
