"""What all drawn pictures share: the colours of paper and ink, and letters in any size."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

PAPER, INK, FAINT = "#ffffff", "#303030", "#707070"


@lru_cache
def font(size: int) -> FreeTypeFont | ImageFont:
    """PIL's own letters, this many pixels high."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
