"""Pictures as training reads them: a square for the frozen model, and the whole picture for the vision encoder."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..text.wording import shown
from ..vision.preprocess import BICUBIC
from .pairs import CaptionedPicture

if TYPE_CHECKING:
    from PIL.Image import Image

NUMBERS = ("height", "width", "crop_h", "crop_w", "target_height", "target_width")
"""The numbers that SDXL reads beside the text, in pixels: size of the picture, corner of its square, size of that.

Source: tencent-ailab/IP-Adapter, tutorial_train_sdxl.py.
"""

_LONGEST = 16  # length of a picture in short sides; parts that are farther from the centre are cut off first


class Unreadable(ValueError):
    """A picture that cannot be read: its name and the reason."""


class Picture(NamedTuple):
    """One picture, or several along a first dimension.

    square: what the frozen model learns to draw, (size, size, 3), float32, 0..1.
    seen: what the encoder sees of the whole picture, (sees, sees, 3), float32, 0..1.
    numbers: NUMBERS, (6,), whole numbers.
    """

    square: Tensor
    seen: Tensor
    numbers: Tensor


def stack_pictures(pictures: Sequence[Picture]) -> Picture:
    """Several pictures as one value."""
    return Picture(*(torch.stack(part) for part in zip(*pictures, strict=True)))


def read(pair: CaptionedPicture, size: int, sees: int, interpolation: str = BICUBIC) -> Picture:
    """The picture of a pair, for a model that is trained at `size` and an encoder that sees `sees` pixels.

    The square is the centre of the picture after its shortest side was scaled to `size` (bilinear); the encoder sees
    its own centre crop of the original, by its own interpolation (of preprocess.INTERPOLATIONS). Raises Unreadable when
    the file is missing, damaged, or no picture.
    Source: arXiv 2308.06721, section 4.1; tencent-ailab/IP-Adapter, tutorial_train.py.
    """
    try:
        return _read(pair.content(), size, sees, interpolation)
    except Exception as error:  # Pillow's readers raise many kinds on a damaged file
        raise Unreadable(f"{shown(pair.name)}: {_reason(error)}") from error


def _read(content: bytes, size: int, sees: int, interpolation: str) -> Picture:
    from PIL import Image, ImageOps

    with Image.open(BytesIO(content)) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    square = _cut(picture, size, Image.Resampling.BILINEAR)
    seen = _cut(picture, sees, Image.Resampling[interpolation.upper()])
    left, top = ((length - size) // 2 for length in _scale(picture, size))
    numbers = torch.tensor([picture.height, picture.width, top, left, size, size], dtype=torch.int32)
    return Picture(_levels(square), _levels(seen), numbers)


def _scale(picture: Image, size: int) -> tuple[int, int]:
    """Width and height of the picture when its shortest side is `size`."""
    short = min(picture.size)
    return size * picture.width // short, size * picture.height // short


def _cut(picture: Image, size: int, resample: int) -> np.ndarray:
    middle = _middle(picture)
    width, height = _scale(middle, size)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(middle.resize((width, height), resample))[top : top + size, left : left + size]


def _middle(picture: Image) -> Image:
    """The picture without parts far from its centre: a very long one would not fit in memory when resized."""
    most = _LONGEST * min(picture.size)
    width, height = (min(length, most) for length in picture.size)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _levels(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(picture.copy()).float() / 255


def _reason(error: Exception) -> str:
    reasons = {"FileNotFoundError": "the file does not exist", "UnidentifiedImageError": "the file is no picture"}
    return reasons.get(type(error).__name__) or shown(str(error).replace("\n", " ") or type(error).__name__)
