"""TABLE of the nodes of ComfyUI_InstantID, and what it computed of faces in a way of its own.

Inputs and outputs are in that pack's order and words. Source: its node definitions (cubiq/ComfyUI_InstantID,
InstantID.py) and the graphs that it comes with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..text.checks import check_choice
from .signatures import MENU, Input, Output, Signature

PROVIDERS = ("CPU", "CUDA", "ROCM", "CoreML")
COMBINES = AVERAGE, NORM_AVERAGE, CONCAT = "average", "norm average", "concat"
NOISE = 0.35
"""Of *Apply InstantID*, which has no input for it."""

_SEEDS = 1000000007
_LEAST = 1e-12  # so that 0 stays 0


def _sockets(text: str, optional: bool = False) -> tuple[Input, ...]:
    """Sockets of `name:TYPE, …`."""
    pairs = (piece.split(":") for piece in text.split(", "))
    return tuple(Input(name, kind, optional=optional) for name, kind in pairs)


def _outputs(text: str) -> tuple[Output, ...]:
    return tuple(Output(given.name, given.type) for given in _sockets(text))


def _float(name: str, default: float, most: float, step: float = 0.01, least: float = 0.0) -> Input:
    return Input(name, "FLOAT", default, (least, most, step))


_SPAN = (_float("start_at", 0.0, 1.0, 0.001), _float("end_at", 1.0, 1.0, 0.001))
_NOISE = _float("noise", 0.0, 1.0, 0.1)
_SIDES = _sockets("positive:CONDITIONING, negative:CONDITIONING")
_WHOLE = _sockets("instantid:INSTANTID, insightface:FACEANALYSIS, control_net:CONTROL_NET, image:IMAGE, model:MODEL")
_MORE = _sockets("image_kps:IMAGE, mask:MASK", optional=True)
_MASK = _sockets("mask:MASK", optional=True)
_WHOLE_OUT = _outputs("MODEL:MODEL, positive:CONDITIONING, negative:CONDITIONING")

SIGNATURES: dict[str, Signature] = {
    "InstantIDModelLoader": Signature(
        "Load InstantID Model", (Input("instantid_file", MENU),), _outputs("INSTANTID:INSTANTID")
    ),
    "InstantIDFaceAnalysis": Signature(
        "InstantID Face Analysis",
        (Input("provider", MENU, PROVIDERS[0], None, PROVIDERS),),
        _outputs("FACEANALYSIS:FACEANALYSIS"),
    ),
    "ApplyInstantID": Signature(
        "Apply InstantID", (*_WHOLE, *_SIDES, _float("weight", 0.8, 5.0), *_SPAN, *_MORE), _WHOLE_OUT
    ),
    "ApplyInstantIDAdvanced": Signature(
        "Apply InstantID Advanced",
        (
            *_WHOLE,
            *_SIDES,
            _float("ip_weight", 0.8, 3.0),
            _float("cn_strength", 0.8, 10.0),
            *_SPAN,
            _NOISE,
            Input("combine_embeds", MENU, AVERAGE, None, COMBINES),
            *_MORE,
        ),
        _WHOLE_OUT,
    ),
    "FaceKeypointsPreprocessor": Signature(
        "Face Keypoints Preprocessor", _sockets("faceanalysis:FACEANALYSIS, image:IMAGE"), _outputs("IMAGE:IMAGE")
    ),
    "InstantIDAttentionPatch": Signature(
        "InstantID Patch Attention",
        (
            *_sockets("instantid:INSTANTID, insightface:FACEANALYSIS, image:IMAGE, model:MODEL"),
            _float("weight", 1.0, 3.0, least=-1.0),
            *_SPAN,
            _NOISE,
            *_MASK,
        ),
        _outputs("MODEL:MODEL, FACE_EMBEDS:FACE_EMBEDS"),
    ),
    "ApplyInstantIDControlNet": Signature(
        "InstantID Apply ControlNet",
        (
            *_sockets("face_embeds:FACE_EMBEDS, control_net:CONTROL_NET, image_kps:IMAGE"),
            *_SIDES,
            _float("strength", 1.0, 10.0),
            *_SPAN,
            *_MASK,
        ),
        _outputs("positive:CONDITIONING, negative:CONDITIONING"),
    ),
}


def combine_faces(embeddings: Tensor, combine: str) -> Tensor:
    """Embeddings of several faces, (faces, 512), as one, (1, 512), or as they are where the word is *concat*.

    *norm average* divides every number by its length across the faces. Raises ValueError for another word.
    """
    check_choice("combine_embeds", combine, COMBINES)
    if len(embeddings) == 1 or combine == CONCAT:
        return embeddings
    lengths = embeddings.norm(dim=0, keepdim=True).clamp(min=_LEAST) if combine == NORM_AVERAGE else 1.0
    return (embeddings / lengths).mean(dim=0, keepdim=True)


def noisy_nobody(embeddings: Tensor, noise: float) -> Tensor:
    """What the negative side reads in place of a face, in the shape of the embeddings, whose sum is the seed.

    noise: length of the numbers, which are all positive; 0 is an embedding of zeros.
    """
    if noise <= 0:
        return torch.zeros_like(embeddings)
    seed = int(embeddings.sum().item()) % _SEEDS
    return noise * torch.rand(embeddings.shape, generator=torch.Generator().manual_seed(seed))


def whole_levels(images: Tensor) -> Tensor:
    """Pictures, 0..1, in whole eight-bit levels, cut off in place of rounded."""
    return (images * 255).clamp(0, 255).byte() / 255
