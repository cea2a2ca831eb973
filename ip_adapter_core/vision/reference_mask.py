"""Which part of a reference is read: its surroundings become the neutral colour, and their patches can be left out.

Pictures are made neutral before they are fitted or cut, so that no filter carries a pixel of the surroundings inwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d, avg_pool2d, interpolate

from ..settings.masks import usable
from .preprocess import CLIP_MEAN, check_pictures, fit, levels
from .tiles import Tile, cut

_SOFT = 56  # the soft edge is this part of the short side: four pixels of 224
_LEVELS = 255
TURN_ROUND = (
    "Load Image gives a mask that is white where a picture is transparent, and black where it has no transparency: "
    "Invert Mask turns it round."
)
"""What is most often wrong with a mask that is black everywhere."""
_BLACK, _WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Reference:
    """Pictures, and which part of each is read.

    images: (images, height, width, channels), 0..1; what is not read is of the neutral colour already.
    mask: (images, height, width), 0..1, white where they are read; None when all of them is.
    """

    images: Tensor
    mask: Tensor | None = None

    def cut(self, parts: Sequence[Tile]) -> Reference:
        """The tiles of the pictures and of their mask, (images·tiles, …)."""
        mask = None if self.mask is None else cut(self.mask[..., None], parts)[..., 0]
        return Reference(cut(self.images, parts), mask)

    def gaps(self, size: int, how: str) -> list[int]:
        """Indices of the pictures of which an encoder of this size sees nothing that is read; fit as in `fit`."""
        if self.mask is None:
            return []
        return [index for index, part in enumerate(_fit(self.mask, size, how)) if not part.any()]

    def check_seen(self, size: int, how: str, tiles: int = 1) -> None:
        """Raises ValueError when an encoder of this size sees nothing that is read of a picture, or of all its tiles.

        how: as in `fit`. tiles: that each picture was cut into.
        """
        gaps, pictures = set(self.gaps(size, how)), len(self.images) // tiles
        for number in range(pictures):
            if gaps.issuperset(range(number * tiles, (number + 1) * tiles)):
                raise ValueError(
                    "Crop the picture around what reference_mask leaves, or choose another fit, or detail tiles; of "
                    f'that part the encoder sees nothing in picture {number + 1} of {pictures}, with fit "{how}".'
                )

    def kept(self, size: int, how: str, tokens: int) -> Tensor | None:
        """Which of an encoder's hidden states are read, (images, tokens), boolean; None when all are.

        size, how: as the pictures were fitted. tokens: of the encoder for a picture: those of a square grid of patches,
        and before them others, such as the class token. A patch is kept where the mask is in any of its pixels at least
        half as white as in its whitest pixel. The others speak of the whole square, so they are kept only where all of
        the picture that the encoder sees is read.
        """
        if self.mask is None:
            return None
        whole = _fit(self.mask, size, how, _WHITE).flatten(1).amin(1) == 1
        kept = whole[:, None] | _kept(_fit(self.mask, size, how), tokens)
        return None if bool(kept.all()) else kept


def reference(
    images: Tensor, mask: Tensor | None = None, alpha: bool = False, neutral: Sequence[float] = CLIP_MEAN
) -> Reference:
    """Pictures with only a part of each that is read; they stay as they are where all of each is.

    images: (images, height, width, channels) as in `fit`. mask: a ComfyUI MASK of any size, one for each or one for
    all; white is read. alpha: whether the fourth channel, where there is one, counts too. neutral: the encoder's mean.
    Raises ValueError for another number of masks, and when nothing of a picture is left.
    """
    check_pictures(images)
    read = _read(images, mask, alpha)
    if read is None or bool((read == 1).all()):
        return Reference(images)
    _check_something_read(read, alpha)
    return Reference(_fade(images, read, neutral), read)


def is_partly_read(images: Tensor, mask: Tensor | None = None, alpha: bool = False) -> bool:
    """Whether anything of pictures is left out; arguments as in `reference`."""
    read = _read(images, mask, alpha)
    return read is not None and not bool((read == 1).all())


def _read(images: Tensor, mask: Tensor | None, alpha: bool) -> Tensor | None:
    """What is read of each picture, (images, height, width), in eight-bit levels; None when all is."""
    white = None if mask is None else usable(mask)
    parts = [] if white is None else [as_large(white, images, "reference_mask")]
    if alpha and images.shape[-1] == 4:
        parts.append(images[..., 3].detach().cpu().float().clamp(0, 1))
    return (torch.stack(parts).prod(0) * _LEVELS).round() / _LEVELS if parts else None


def as_large(mask: Tensor, images: Tensor, name: str) -> Tensor:
    """Masks (masks, height, width) as large and as many as the pictures, (images, height, width).

    Raises ValueError, with the name of the input, for neither one mask nor one for each picture.
    """
    count, height, width = images.shape[:3]
    if len(mask) not in (1, count):
        raise ValueError(
            f"Connect one {name} for all pictures, or one for each; pictures: {count}, masks: {len(mask)}."
        )
    if mask.shape[1:] != (height, width):
        mask = interpolate(mask[:, None], (height, width), mode="bilinear", antialias=True)[:, 0].clamp(0, 1)
    return mask.expand(count, -1, -1)


def _check_something_read(read: Tensor, alpha: bool) -> None:
    empty = [index for index, part in enumerate(read) if not part.any()]
    if empty:
        raise ValueError(
            f"Make white in reference_mask what is to be read, or disconnect it{', or switch alpha off' * alpha}; "
            f"nothing is left of picture {empty[0] + 1} of {len(read)}. {TURN_ROUND}"
        )


def _fade(images: Tensor, read: Tensor, neutral: Sequence[float]) -> Tensor:
    """Pictures (images, height, width, 3) in which what is not read is the neutral colour, with a soft edge inwards."""
    pictures = torch.from_numpy(levels(images)).float() / _LEVELS
    radius = max(1, round(min(read.shape[1:]) / _SOFT))
    share = (read * softened(read, radius))[..., None]
    return pictures.new_tensor(neutral).lerp(pictures, share)


def softened(read: Tensor, radius: int) -> Tensor:
    """The mean of each pixel's neighbours in the picture, (images, height, width); 1 within large white parts."""
    side, planes = 2 * radius + 1, read[:, None]
    for kernel, padding in (((side, 1), (radius, 0)), ((1, side), (0, radius))):
        planes = avg_pool2d(planes, kernel, stride=1, padding=padding, count_include_pad=False)
    return planes[:, 0]


def _fit(mask: Tensor, size: int, how: str, border: Sequence[float] = _BLACK) -> Tensor:
    """Masks as the encoder sees the pictures, (images, size, size)."""
    return fit(mask[..., None], size, how, border)[..., 0]


def _kept(fitted: Tensor, tokens: int) -> Tensor:
    """The patches on which fitted masks lie, and no tokens before them, (images, tokens), boolean."""
    grid = isqrt(tokens)
    patches = adaptive_max_pool2d(fitted[:, None], grid).flatten(1)
    most = patches.amax(1, keepdim=True)
    kept = (patches > 0) & (patches >= most / 2)
    return torch.cat([kept.new_zeros(len(kept), tokens - grid**2), kept], dim=1)
