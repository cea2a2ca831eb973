"""Scores of pictures with the host's encoders: their embeddings, and those of texts from the half that reads texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import comfy.model_management as memory
import torch
from torch import Tensor

from ...ip_adapter_core.vision.preprocess import FITS
from ...ip_adapter_core.vision.scores import Scores, cosines
from ...ip_adapter_core.vision.text_half import load_text_half
from . import vision
from .vision import OpenClipVision

_read_texts: WeakKeyDictionary[OpenClipVision, dict[str, Tensor]] = WeakKeyDictionary()
"""Encoder -> the texts that were read last and their embeddings: small, where the half that reads them is not."""


class Compared(NamedTuple):
    """What pictures are compared with.

    references: pictures, (images, height, width, channels), or None.
    texts: maybe none.
    clip: the host's CLIP that reads the texts; None for the text half of the encoder's own file.
    fit: how pictures become square, a row of preprocess.FITS.
    """

    references: Tensor | None = None
    texts: Sequence[str] = ()
    clip: Any | None = None
    fit: str = FITS[0]


def score(encoder: Any, pictures: Tensor, other: Compared) -> Scores:
    """CLIP-I and CLIP-T of pictures. encoder: any CLIP_VISION.

    Raises ValueError where there is nothing to compare with, or nothing that reads the texts; that is found before
    any picture is encoded.
    """
    if other.references is None and not other.texts:
        raise ValueError(
            "Connect references, or write a text into texts: there is nothing to compare the pictures with."
        )
    texts = _embed_texts(encoder, other) if other.texts else None
    mine = _embed(encoder, pictures, other.fit)
    if texts is not None and texts.shape[-1] != mine.shape[-1]:
        raise ValueError(
            f"Connect a CLIP and an encoder of one family, such as SDXL's CLIP with ViT-bigG-14: this CLIP gives texts "
            f"of width {texts.shape[-1]}, and the encoder pictures of width {mine.shape[-1]}."
        )
    clip_i = None if other.references is None else cosines(mine, _embed(encoder, other.references, other.fit))
    clip_t = None if texts is None else cosines(mine, texts)
    return Scores(clip_i, clip_t, tuple(other.texts))


def _embed(encoder: Any, pictures: Tensor, fit: str) -> Tensor:
    embeds = vision.encode(encoder, vision.fit_pictures(encoder, pictures, fit)).embeds
    if embeds is None:
        raise ValueError("Connect a CLIP vision encoder: the connected one gives no embedding of a whole picture.")
    return embeds


def _embed_texts(encoder: Any, other: Compared) -> Tensor:
    """Embeddings of the texts, (texts, width)."""
    if other.clip is not None:
        return torch.cat([_embed_by_host(other.clip, text) for text in other.texts])
    if not isinstance(encoder, OpenClipVision) or encoder.file is None:
        raise ValueError(
            "Connect a CLIP of the encoder's family to clip, or load the encoder with Load CLIP Vision (OpenCLIP) from "
            "a file with both halves of CLIP: nothing here reads the texts."
        )
    known = _read_texts.get(encoder, {})
    if not known.keys() >= set(other.texts):
        known = dict(zip(other.texts, _embed_by_half(encoder, other.texts), strict=True))
        _read_texts[encoder] = known
    return torch.stack([known[text] for text in other.texts])


def _embed_by_half(encoder: OpenClipVision, texts: Sequence[str]) -> Tensor:
    """By the text half of the encoder's own file, which is read for this and then let go."""
    half = load_text_half(str(encoder.file), encoder.tower, encoder.dtype)
    patcher = vision.patcher(half, encoder.load_device)
    memory.load_models_gpu([patcher])
    with torch.no_grad():
        return half(texts).float().cpu()


def _embed_by_host(clip: Any, text: str) -> Tensor:
    """By a CLIP of the host, (1, width), with the words as they are: no weights in brackets."""
    pooled = clip.encode_from_tokens(clip.tokenize(text, disable_weights=True), return_pooled=True)[1]
    if pooled is None or not _is_projected(clip, pooled.shape[-1]):
        raise ValueError(
            "Connect a CLIP that was published with its projection, such as that of an SDXL or SD2 checkpoint, or "
            "leave clip empty and load an encoder file with both halves of CLIP: the texts of this one cannot be "
            "compared with pictures."
        )
    return pooled.float().cpu()


def _is_projected(clip: Any, width: int) -> bool:
    """Whether pooled texts of this width went through the projection that CLIP was trained with.

    The host leaves SD1.5's and Flux's before it, as their checkpoints have none (0.30).
    """
    made = [half for half in _halves(clip) if getattr(half.transformer.text_projection, "out_features", 0) == width]
    return any(half.return_projected_pooled for half in made)


def _halves(clip: Any) -> Iterator[Any]:
    """The CLIP text models inside the host's text encoder."""
    for module in clip.cond_stage_model.modules():
        if hasattr(getattr(module, "transformer", None), "text_projection"):
            yield module
