"""What the old pack's nodes for embeds do: pictures -> EMBEDS, bare tensors of an encoder's output, and their files."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...ip_adapter_core.compat.old_noise import noisy_negative
from ...ip_adapter_core.prompts.features import Features
from ...ip_adapter_core.prompts.raw import combine_embeds
from ..host import pictures, prompt_files, vision
from . import references
from .numbers import numbers_of
from .references import Look
from .values import unpack

_PLAIN_AXES = 2  # of embeds that have no negative half


def encode(
    ipadapter: Any,
    image: Tensor,
    weight: float = 1.0,
    mask: Tensor | None = None,
    clip_vision: Any = None,
    numbers: str = "",
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """The embeds of pictures, times a weight, and the negative ones. mask: where the pictures are looked at.

    Raises ValueError for adapters that read faces, and without an encoder.
    """
    bundle = unpack(ipadapter, clip_vision)
    identity = bundle.adapter.identity
    if identity.reads_faces:
        raise ValueError(
            f"Use IPAdapter FaceID in place of this node: {bundle.adapter.name} is a {identity.variant.name} adapter, "
            "which reads faces."
        )
    seen = None if mask is None else _fit_mask(mask, references.needed_encoder(bundle).image_size)
    read = references.of_pictures(bundle, image, None, numbers_of(numbers), Look(seen))
    positive, negative = read.cond[0], read.uncond[0]
    return positive * weight, negative.expand(len(positive), *negative.shape[1:]).contiguous()


def batch(embed1: Tensor, method: str = "concat", **others: Any) -> tuple[Tensor]:
    """Embeds of several nodes as one, in the order of the sockets. Raises ValueError where they are not alike."""
    more = (others[name] for name in sorted(others) if name.startswith("embed"))
    row = numbers_of(others.get("numbers")).combines.get(method, method)
    return (combine_embeds([embed1, *(embed for embed in more if embed is not None)], row),)


def batch_old(embed1: Tensor, embed2: Tensor, **_: Any) -> tuple[Tensor]:
    """Embeds of before version 2, with the images of both: positive and negative stand in one tensor."""
    images = 0 if embed1.ndim == _PLAIN_AXES else 1
    return (torch.cat([embed1, embed2], dim=images),)


def save(embeds: Tensor, filename_prefix: str = "IP_embeds", **_: Any) -> tuple[None]:
    """Write embeds to a new file in ComfyUI's output folder."""
    prompt_files.save_embeds(embeds, filename_prefix)
    return (None,)


def load(embeds: str, **_: Any) -> tuple[Tensor]:
    """The embeds of a file in ComfyUI's input folder. Raises ValueError where it is gone or holds something else."""
    return (prompt_files.load_embeds(embeds),)


def preprocess(
    clip_vision: Any, image_1: Tensor, ipadapter_plus: bool = False, noise: float = 0.0, **given: Any
) -> tuple[Tensor]:
    """Embeds as before version 2: of up to four pictures with weights, positive and negative in one tensor.

    ipadapter_plus: whether they are for an adapter that reads hidden states.
    """
    numbers = [number for number in (1, 2, 3, 4) if number == 1 or given.get(f"image_{number}") is not None]
    parts = [image_1, *(_same_size(given[f"image_{number}"], image_1) for number in numbers[1:])]
    factors = [_curved(given.get(f"weight_{number}", 1.0)) for number in numbers]
    images = torch.cat(parts)
    weights = torch.tensor([factor for factor, own in zip(factors, parts, strict=True) for _ in own])
    positive = _field(vision.encode_masked(clip_vision, images), ipadapter_plus)
    negative = _negative(clip_vision, images, positive, ipadapter_plus, noise)
    return (torch.stack([positive * weights.reshape(-1, *(1,) * (positive.ndim - 1)), negative]),)


def _negative(encoder: Any, images: Tensor, positive: Tensor, hidden: bool, noise: float) -> Tensor:
    if noise > 0:
        return _field(vision.encode_masked(encoder, noisy_negative(images, noise)), hidden)
    if hidden:
        return _field(vision.blank_features(encoder), True).expand_as(positive)
    return torch.zeros_like(positive)


def _field(features: Features, hidden: bool) -> Tensor:
    field = features.hidden if hidden else features.embeds
    if field is None:
        raise ValueError("Load a CLIP vision encoder: the connected one gives no such features.")
    return field


def _curved(weight: float) -> float:
    """The factor of a picture's embeds, which rose with the square of its weight."""
    return weight * weight


def _same_size(images: Tensor, first: Tensor) -> Tensor:
    return images if images.shape[1:] == first.shape[1:] else pictures.resize_like(images, first)


def _fit_mask(mask: Tensor, size: int) -> Tensor:
    """A mask at the encoder's size, at edges beyond 0..1: its middle, as of the picture."""
    short = min(mask.shape[-2:])
    top, left = ((side - short) // 2 for side in mask.shape[-2:])
    square = mask[:, None, top : top + short, left : left + short]
    return torch.nn.functional.interpolate(square, (size, size), mode="bicubic", antialias=True)[:, 0]
