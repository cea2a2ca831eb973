"""From ComfyUI pictures to the input of a vision encoder: square 8-bit pictures, then normalised pixel values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange, repeat
from torch import Tensor

from ..text.checks import check_choice

if TYPE_CHECKING:
    from PIL.Image import Image

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
BICUBIC, BILINEAR = INTERPOLATIONS = ("bicubic", "bilinear")
"""How an encoder's authors resized the pictures that it learned from, by the names of open_clip's configs."""

_LONGEST = 1000  # a scaled picture of this shape takes 340 MB for an encoder of 336 pixels


def fit(
    images: Tensor,
    size: int,
    how: str = "center crop",
    mean: Sequence[float] = CLIP_MEAN,
    interpolation: str = BICUBIC,
) -> Tensor:
    """The square pictures that the encoder sees, in exact eight-bit levels; a user may look at them too.

    images: (images, height, width, channels), 0..1, grey, RGB or RGBA (alpha is ignored); values outside are clamped.
    Returns (images, size, size, 3), float32 on the CPU. "center crop" equals transformers' CLIP preprocessing on PIL,
    "squash" open_clip's.
    how: a row of FITS. mean: the encoder's mean, used as the colour around a padded picture, so that the normalised
    border is about 0. interpolation: the encoder's, of INTERPOLATIONS. Raises ValueError for an unknown way to fit or
    interpolation, a wrong or empty shape, and values that are no numbers.
    """
    check_choice("fit", how, FITS)
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    resize = partial(_resize, interpolation)
    fitted = [_FITTERS[how](_picture(picture), size, mean, resize) for picture in levels(images)]
    return torch.from_numpy(np.stack(fitted)).float() / 255


def normalise(pictures: Tensor, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD) -> Tensor:
    """Pixel values for an encoder trained with this mean and deviation, `(pictures - mean) / std` per channel.

    pictures: (images, size, size, 3), 0..1. Returns (images, 3, size, size) of the same dtype and device.
    """
    centred = (pictures - pictures.new_tensor(mean)) / pictures.new_tensor(std)
    return rearrange(centred, "images height width channels -> images channels height width").contiguous()


def levels(images: Tensor) -> np.ndarray:
    """RGB pictures (images, height, width, 3) in eight-bit levels; images and errors as in `fit`."""
    check_pictures(images)
    rgb = images[..., :3] if images.shape[-1] > 1 else repeat(images, "n h w 1 -> n h w 3")
    return (rgb.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def levels_and_opacity(images: Tensor) -> Tensor:
    """Pictures in eight-bit levels, (images, height, width, 3), or 4 where the images have a fourth channel."""
    rgb = torch.from_numpy(levels(images))
    if images.shape[-1] < 4:
        return rgb
    opacity = (images[..., 3:].detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return torch.cat([rgb, opacity], -1)


def check_pictures(images: Tensor) -> None:
    """Raises ValueError for a wrong or empty shape, and for values that are no numbers; images as in `fit`."""
    _check_shape(images)
    _check_finite(images)


def _check_shape(images: Tensor) -> None:
    shape = "x".join(str(length) for length in images.shape)
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4):
        raise ValueError(
            "Connect images of shape (images, height, width, channels) with 1, 3 or 4 channels, as "
            f"ComfyUI's IMAGE has it; found {shape}."
        )
    if 0 in images.shape:
        raise ValueError(f"Connect at least one picture; an image batch of shape {shape} holds no pixels.")


def _check_finite(images: Tensor) -> None:
    for number, picture in enumerate(images, start=1):
        if not torch.isfinite(picture).all():
            values = "NaN" if torch.isnan(picture).any() else "infinite values"
            raise ValueError(
                f"Look at the node that made image {number} of {len(images)}, often a VAE decode in half "
                f"precision; it contains {values}."
            )


def _picture(levels: np.ndarray) -> Image:
    from PIL import Image

    return Image.fromarray(np.ascontiguousarray(levels))


_Resize = Callable[["Image", tuple[int, int]], np.ndarray]
_Fitter = Callable[["Image", int, Sequence[float], _Resize], np.ndarray]


def _center_crop(picture: Image, size: int, mean: Sequence[float], resize: _Resize) -> np.ndarray:
    short, long = min(picture.size), max(picture.size)
    if long > _LONGEST * short:
        raise ValueError(
            f'Crop the image first, or set fit to "pad" or "squash"; {picture.width}x{picture.height} '
            f"is too long to crop its centre, as the long side may be {_LONGEST} times the short one."
        )
    # Truncated as in transformers; ComfyUI rounds, which shifts the crop by up to a pixel (about 30 levels at edges).
    width, height = (size * length // short for length in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    return resize(picture, (width, height))[top : top + size, left : left + size]


def _pad(picture: Image, size: int, mean: Sequence[float], resize: _Resize) -> np.ndarray:
    width, height = (max(1, round(size * length / max(picture.size))) for length in picture.size)
    canvas = np.empty((size, size, 3), dtype=np.uint8)
    canvas[:] = np.round(np.asarray(mean) * 255)
    left, top = (size - width) // 2, (size - height) // 2
    canvas[top : top + height, left : left + width] = resize(picture, (width, height))
    return canvas


def _squash(picture: Image, size: int, mean: Sequence[float], resize: _Resize) -> np.ndarray:
    return resize(picture, (size, size))


def _resize(interpolation: str, picture: Image, size: tuple[int, int]) -> np.ndarray:
    from PIL.Image import Resampling

    return np.asarray(picture.resize(size, resample=Resampling[interpolation.upper()]))


_FITTERS: dict[str, _Fitter] = {
    "center crop": _center_crop,
    "pad": _pad,
    "squash": _squash,
}
FITS: tuple[str, ...] = tuple(_FITTERS)
