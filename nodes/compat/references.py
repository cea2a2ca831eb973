"""From the pictures, faces and embeds of an old node to what its adapter reads of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...ip_adapter_core.adapters.variants import KOLORS
from ...ip_adapter_core.faces.features import Faces
from ...ip_adapter_core.prompts.features import AdapterInputs, Features, select_rows
from ...ip_adapter_core.vision import enhance
from ..host import encoding, faces, server
from .numbers import Numbers
from .values import Bundle, split_embeds

_CROPS: dict[str | int | None, int] = {KOLORS: 336, 2048: 256}
"""Pixels of a cut out face, by the family or by the width of the texts; _CROP for all others."""
_CROP = 224
_UNNORMED = "portrait unnorm"


@dataclass(frozen=True, eq=False)
class References:
    """What an adapter reads of references.

    cond: of the references; uncond: of one negative image, or of as many.
    pictures: the faces as they were cut out, or the pictures as they came.
    gaps: numbers of pictures without a face.
    """

    cond: AdapterInputs
    uncond: AdapterInputs
    pictures: Tensor | None = None
    gaps: tuple[int, ...] = ()


class Look(NamedTuple):
    """How pictures are looked at.

    mask: where, (masks, size, size); None everywhere.
    parts: along a side, into which a picture is cut to be looked at closely too; 1 leaves that out.
    ratio: share of the whole picture beside its parts.
    """

    mask: Tensor | None = None
    parts: int = 1
    ratio: float = 1.0


WHOLE = Look()


def of_pictures(
    bundle: Bundle, images: Tensor, negative: Tensor | None, numbers: Numbers, look: Look = WHOLE
) -> References:
    """What is read of pictures, or of the faces in them, where the adapter reads faces.

    negative: pictures to move away from. Raises ValueError when something is missing that the adapter needs.
    """
    if bundle.adapter.identity.reads_faces:
        return _of_faces(bundle, images, negative, numbers)
    encoder = needed_encoder(bundle)
    cond = encoding.select_inputs(bundle.adapter, encoder, _features(encoder, images, numbers, look))
    return References(cond, as_many(_uncond(bundle, cond, negative, numbers), len(cond[0])), images)


def _features(encoder: Any, images: Tensor, numbers: Numbers, look: Look) -> Features:
    whole = numbers.encode(encoder, images, look.mask)
    side = min(look.parts, enhance.MOST_PARTS)
    if side < 2:
        return whole
    parts = numbers.encode(encoder, enhance.cut_parts(images, side), look.mask)
    join = partial(enhance.join_hidden, side=side)
    return Features(
        embeds=_mix(whole.embeds, parts.embeds, lambda embeds: numbers.join_embeds(embeds, side), look.ratio),
        hidden=_mix(whole.hidden, parts.hidden, join, look.ratio),
        normed_hidden=_mix(whole.normed_hidden, parts.normed_hidden, join, look.ratio),
    )


def _mix(whole: Tensor | None, parts: Tensor | None, join: Callable[[Tensor], Tensor], ratio: float) -> Tensor | None:
    return None if whole is None or parts is None else enhance.mix(whole, join(parts), ratio)


def of_embeds(bundle: Bundle, positive: Tensor, negative: Tensor | None, numbers: Numbers) -> References:
    """What ready embeds hold. Raises ValueError as `split_embeds` does, or when an encoder is needed and missing."""
    held, own_negative = split_embeds(bundle.adapter, positive)
    cond: AdapterInputs = (held,)
    if negative is not None:
        uncond: AdapterInputs = (split_embeds(bundle.adapter, negative)[0],)
    elif own_negative is not None:
        uncond = (own_negative,)
    else:
        uncond = _blank(bundle, cond, numbers)
    return References(cond, as_many(uncond, len(held)))


def as_many(uncond: AdapterInputs, count: int) -> AdapterInputs:
    """The negative input for `count` images: one serves all; of several the last is repeated, and those too many are
    left out."""
    if len(uncond[0]) == 1:
        return uncond
    rows = [min(number, len(uncond[0]) - 1) for number in range(count)]
    return select_rows(uncond, rows)


def _uncond(bundle: Bundle, cond: AdapterInputs, negative: Tensor | None, numbers: Numbers) -> AdapterInputs:
    if negative is None:
        return _blank(bundle, cond, numbers)
    encoder = needed_encoder(bundle)
    return encoding.select_inputs(bundle.adapter, encoder, numbers.encode(encoder, negative, None))


def _blank(bundle: Bundle, cond: AdapterInputs, numbers: Numbers) -> AdapterInputs:
    if None in encoding.zero_inputs(bundle.adapter, cond):
        needed_encoder(bundle)
    return encoding.blank_inputs(bundle.adapter, bundle.encoder, cond, numbers.blank)


def needed_encoder(bundle: Bundle) -> Any:
    """The encoder that an adapter reads with. Raises ValueError where none is connected."""
    if bundle.encoder is None:
        raise ValueError(
            "Connect clip_vision, or load the adapter with a unified loader, which brings its encoder: "
            f"{bundle.adapter.name} reads pictures with {bundle.adapter.identity.encoder}."
        )
    return bundle.encoder


def _of_faces(bundle: Bundle, images: Tensor, negative: Tensor | None, numbers: Numbers) -> References:
    identity = bundle.adapter.identity
    if "levels" in identity.variant.reads and (numbers.normed_faces or negative is not None):
        raise ValueError(
            f"Use Encode Face Prompt in place of this node: {bundle.adapter.name} is of kind {identity.variant.name}, "
            "which reads faces and negative images in a way that IPAdapter Plus does not know."
        )
    found = _find_faces(bundle, images, numbers)
    crops = found.crops(crop_size(identity.family, identity.geometry.context))
    cond = _face_inputs(bundle, found, crops, numbers)
    uncond = _face_uncond(bundle, cond, negative, numbers)
    count = len(found.face_indices)
    return References(select_rows(cond, found.face_indices), as_many(uncond, count), crops, found.gaps)


def crop_size(family: str | None, context: int) -> int:
    """Pixels along a side of a face that is cut out for adapters of a family with texts of this width."""
    return _CROPS.get(family) or _CROPS.get(context, _CROP)


def _find_faces(bundle: Bundle, images: Tensor, numbers: Numbers) -> Faces:
    if bundle.reader is None:
        raise ValueError(
            "Connect insightface to IPAdapter InsightFace Loader, or load the adapter with IPAdapter Unified Loader "
            f"FaceID: {bundle.adapter.name} reads faces."
        )
    found, lines = faces.read(faces.reader_of(bundle.reader), images, numbers.face)
    for line in lines:
        server.say(f"{line} Its place stays empty.")
    return found


def _face_inputs(bundle: Bundle, found: Faces, crops: Tensor | None, numbers: Numbers) -> AdapterInputs:
    identity = bundle.adapter.identity
    if not numbers.normed_faces:
        encoder = needed_encoder(bundle) if identity.encoder else None
        return encoding.face_inputs(bundle.adapter, encoder, found)[0]
    features = Features() if identity.encoder is None else numbers.encode(needed_encoder(bundle), _there(crops), None)
    vectors = found.embeddings
    if identity.variant.name != _UNNORMED:
        vectors = torch.nn.functional.normalize(vectors, dim=-1)
    return encoding.select_inputs(bundle.adapter, bundle.encoder, features._replace(face=vectors))


def _face_uncond(bundle: Bundle, cond: AdapterInputs, negative: Tensor | None, numbers: Numbers) -> AdapterInputs:
    """Zeros in place of a face; beside them a negative picture, where the adapter reads pictures too."""
    if negative is None or bundle.adapter.identity.encoder is None:
        return encoding.blank_inputs(bundle.adapter, bundle.encoder, cond, numbers.blank)
    features = numbers.encode(needed_encoder(bundle), negative, None)
    return encoding.inputs_of_nobody(bundle.adapter, bundle.encoder, features, len(negative))


def _there(crops: Tensor | None) -> Tensor:
    if crops is None:
        raise ValueError("Connect a picture with the face: this adapter also reads the face's picture.")
    return crops
