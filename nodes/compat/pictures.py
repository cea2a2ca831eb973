"""What the old pack's nodes for pictures do: references cut to squares, noise, and what an encoder says of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...ip_adapter_core.compat import old_noise
from ...ip_adapter_core.compat.words import RESAMPLINGS
from ...ip_adapter_core.vision.borders import Border
from ...ip_adapter_core.vision.colours import BLACK
from ...ip_adapter_core.vision.prepare import Square, frame, sharpen, square

_SIDE, _MARGIN = 640, 30  # of pictures for InsightFace


def prepare(
    image: Tensor, interpolation: str = "LANCZOS", crop_position: str = "center", sharpening: float = 0.0, **_: Any
) -> tuple[Tensor]:
    """Pictures as squares of 224 pixels, cut at a side or padded with black."""
    how = Square(crop_position, resampling=RESAMPLINGS.get(interpolation, interpolation), border=Border(colour=BLACK))
    return (sharpen(square(image, how), sharpening),)


def prepare_for_faces(
    image: Tensor, crop_position: str = "center", sharpening: float = 0.0, pad_around: bool = True, **_: Any
) -> tuple[Tensor]:
    """Pictures as squares of 640 pixels, in which a white border leaves room around a face."""
    margin = _MARGIN if pad_around else 0
    pictures = sharpen(square(image, Square(crop_position, _SIDE - 2 * margin)), sharpening)
    return (frame(pictures, margin),)


def make_noise(
    type: str = "fade", strength: float = 1.0, blur: int = 0, image_optional: Tensor | None = None, **_: Any
) -> tuple[Tensor]:
    """A noisy picture of 224 pixels; the same for the same picture."""
    return (old_noise.noise_picture(type, strength, blur, image_optional),)


def encode_vision(clip_vision: Any, image: Tensor, **_: Any) -> tuple[Any]:
    """What an encoder says of pictures, as core's CLIPVisionEncode gives it."""
    return (vision_output(clip_vision, image),)


def vision_output(clip_vision: Any, image: Tensor) -> Any:
    """A CLIP_VISION_OUTPUT. Raises ValueError without an encoder."""
    if clip_vision is None:
        raise ValueError("Connect clip_vision to Load CLIP Vision.")
    return clip_vision.encode_image(image)
