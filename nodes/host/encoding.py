"""From reference images and faces to image prompts: an encoder gives features, an adapter makes a prompt of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...ip_adapter_core.catalogue.own_encoder import check_own_encoder
from ...ip_adapter_core.faces.features import WIDTH, Faces
from ...ip_adapter_core.faces.on_white import cut_out, on_white
from ...ip_adapter_core.prompts.arithmetic import add_mask, concat_parts, scale_prompt
from ...ip_adapter_core.prompts.combine import CONCAT, Gathering
from ...ip_adapter_core.prompts.features import AdapterInputs, Features, select_rows
from ...ip_adapter_core.prompts.prompt import ImagePrompt
from ...ip_adapter_core.settings.instruction import Instruction
from ...ip_adapter_core.vision import tiles
from ...ip_adapter_core.vision.preprocess import FITS
from ...ip_adapter_core.vision.reference_mask import Reference, reference
from .adapters import LoadedAdapter
from .vision import build, encode, encode_levels, fit_pictures, missing_features, name_of, neutral

DETAILS = {"whole": (True, False), "tiles": (False, True), "whole and tiles": (True, True)}
"""Choice -> whether the whole picture is read, and whether its tiles are."""

_CROP = 224  # pixels of a face's picture that no encoder reads
_CELLS = 256  # of a tile's mask along the long side: more than any latent picture has that tiles are made for


@dataclass(frozen=True, eq=False)
class Look:
    """How references are looked at.

    fit: how a picture gets the encoder's size, a row of preprocess.FITS.
    gathering: how several references become one prompt.
    detail: whether the encoder sees the whole picture or tiles of it, a row of DETAILS.
    tiles: how many tiles lie along the short side.
    mask: which part of each reference is read, as in `reference`; alpha: whether transparency says so too.
    instruction: what to take from them, for an adapter that is told so.
    """

    fit: str = FITS[0]
    gathering: Gathering = CONCAT
    detail: str = "whole"
    tiles: int = 2
    mask: Tensor | None = None
    alpha: bool = False
    instruction: Instruction | None = None


WHOLE = Look()


def encode_prompt(
    adapter: LoadedAdapter, encoder: Any, images: Tensor, look: Look = WHOLE, negative: Tensor | None = None
) -> tuple[ImagePrompt, Tensor]:
    """The prompt that an adapter makes of images, and the pictures the encoder saw, (images, size, size, 3).

    encoder: any CLIP_VISION; negative: images to move away from, by default the blank input of the adapter's training.
    Raises ValueError when encoder and adapter do not belong together, or when look does not suit the images.
    """
    if adapter.identity.reads_faces:
        raise ValueError(
            f"Use Face Embedding and Encode Face Prompt instead of this node; {adapter.name} is a "
            f"{adapter.identity.variant.name} adapter, which reads faces."
        )
    _check_encoder(adapter, encoder)
    if negative is not None and adapter.identity.variant.one_sided:
        raise ValueError(
            f"Disconnect negative_image; {adapter.name} is a {adapter.identity.variant.name} adapter, whose negative "
            "side reads no image at all."
        )
    if len(images):  # where there are none, the encoder says what is wrong
        look.gathering.check(len(images))
    shown = images_to_read(encoder, images, look)
    whole, tiled = DETAILS[look.detail]
    views = [
        read(adapter, encoder, shown, look) for read, wanted in ((_read_whole, whole), (_read_tiles, tiled)) if wanted
    ]
    first = views[0].inputs[0]
    if negative is not None:
        uncond: AdapterInputs | None = _read(adapter, encoder, Reference(negative), look.fit)[0]
    else:
        uncond = blank_inputs(adapter, encoder, first) if adapter.identity.variant.guided else None
    prompts = [scale_prompt(view.prompt(adapter, uncond, look), 1 / len(views)) for view in views]
    return concat_parts(prompts), torch.cat([view.seen for view in views])


def images_to_read(encoder: Any, images: Tensor, look: Look) -> Reference:
    """Images with the part of each that is read; untouched where look names none. Raises ValueError as `reference`."""
    if look.mask is None and not look.alpha:
        return Reference(images)
    return reference(images, look.mask, look.alpha, neutral(encoder))


@dataclass(frozen=True, eq=False)
class _View:
    """What an adapter reads of images: of the whole images, or of each of their tiles.

    inputs: one for the whole images, or one for each tile.
    seen: the pictures that the encoder saw, (pictures, size, size, 3).
    masks: where each tile acts, (tiles, height, width); None for the whole images.
    gaps: for each input, the indices of the images in which nothing of it is read.
    """

    inputs: list[AdapterInputs]
    seen: Tensor
    masks: Tensor | None = None
    gaps: tuple[Collection[int], ...] = ()

    def prompt(self, adapter: LoadedAdapter, uncond: AdapterInputs | None, look: Look) -> ImagePrompt:
        """The prompt of all inputs together; without an uncond both sides read the same."""
        if self.masks is None:
            return adapter.prompt(self.inputs[0], uncond or self.inputs[0], look.gathering, look.instruction)
        gathering = look.gathering.check(len(self.inputs[0][0]))
        prompts = [
            add_mask(adapter.prompt(cond, uncond or cond, gathering.without(gaps), look.instruction), mask[None])
            for cond, mask, gaps in zip(self.inputs, self.masks, self.gaps, strict=True)
            if not gaps or any(gathering.without(gaps).weights)
        ]
        return concat_parts(prompts)


def _read_whole(adapter: LoadedAdapter, encoder: Any, shown: Reference, look: Look) -> _View:
    shown.check_seen(encoder.image_size, look.fit)
    inputs, seen = _read(adapter, encoder, shown, look.fit)
    return _View([inputs], seen)


def _read_tiles(adapter: LoadedAdapter, encoder: Any, shown: Reference, look: Look) -> _View:
    """Tiles, each of which acts as a prompt of its own where it lies in the picture, if anything of it is read."""
    height, width = shown.images.shape[1:3]
    parts = tiles.tiles(height, width, look.tiles)
    cut = shown.cut(parts)
    cut.check_seen(encoder.image_size, FITS[0], len(parts))
    of_all, seen = _read(adapter, encoder, cut, FITS[0])
    inputs = [tuple(field[number :: len(parts)] for field in of_all) for number in range(len(parts))]
    empty = [divmod(index, len(parts)) for index in cut.gaps(encoder.image_size, FITS[0])]
    gaps = tuple({image for image, tile in empty if tile == number} for number in range(len(parts)))
    scale = min(1.0, _CELLS / max(height, width))
    masks = tiles.masks(parts, max(1, round(height * scale)), max(1, round(width * scale)))
    return _View(inputs, seen, masks, gaps)


def face_prompt(
    adapter: LoadedAdapter,
    encoder: Any | None,
    faces: Faces,
    negative: Faces | Tensor | None = None,
    gathering: Gathering = CONCAT,
    shortcut: float = 1.0,
    mask: Tensor | None = None,
    alpha: bool = False,
) -> tuple[ImagePrompt, Tensor]:
    """The prompt that a FaceID or portrait adapter makes of faces, and their pictures, black where they have none.

    negative: faces to move away from, or images, which are read beside the embedding that stands for no face.
    shortcut: for FaceID-Plus v2, how strongly the picture acts beside the embedding.
    mask: which part of each face's picture is read; alpha: whether its transparency says so too, as in `reference`.

    Arguments and errors are otherwise as in `encode_prompt`.
    """
    identity = adapter.identity
    if not identity.reads_faces:
        raise ValueError(
            f"Use Encode Image Prompt; {adapter.name} is a {identity.variant.name} adapter, which reads pictures."
        )
    if identity.encoder and encoder is None:
        raise ValueError(
            f"Connect {identity.encoder} to clip_vision; {adapter.name} also reads the face's picture with it."
        )
    if encoder is not None:
        _check_encoder(adapter, encoder)
    gathering = gathering.check(len(faces.face_indices), "face").without(faces.gaps)
    cond, seen = face_inputs(adapter, encoder, faces, mask, alpha)
    uncond = blank_inputs(adapter, encoder, cond) if negative is None else _negative_inputs(adapter, encoder, negative)
    if isinstance(negative, Faces) and gathering.mode.framed:
        uncond = select_rows(uncond, negative.face_indices)
    scales = dict.fromkeys(identity.variant.scales, shortcut)
    return adapter.prompt(select_rows(cond, faces.face_indices), uncond, gathering, None, **scales), seen


def face_inputs(
    adapter: LoadedAdapter,
    encoder: Any | None,
    faces: Faces,
    mask: Tensor | None = None,
    alpha: bool = False,
) -> tuple[AdapterInputs, Tensor]:
    """What an adapter reads of faces, and their pictures, as the encoder sees them if it reads any.

    mask, alpha: which part of each picture is read. Raises ValueError for a mask when the adapter reads no pictures.
    """
    identity = adapter.identity
    embeddings = faces.raw if "face" in identity.variant.reads else faces.embeddings
    crops = face_pictures(adapter, faces, encoder)
    if identity.encoder is None:
        if mask is not None:
            raise ValueError(f"Disconnect reference_mask: {_reads_no_pictures(adapter)}")
        seen = torch.zeros(1, _CROP, _CROP, 3) if crops is None else crops[..., :3]
        return select_inputs(adapter, encoder, Features(face=embeddings)), seen
    if crops is None:
        raise ValueError(
            "Connect a picture to these faces; the adapter also reads the face's picture, and they have none."
        )
    features, seen = PORTRAYALS[identity.variant.portrayal].read(encoder, crops, mask, alpha)
    return select_inputs(adapter, encoder, features._replace(face=embeddings)), seen


def face_pictures(adapter: LoadedAdapter, faces: Faces, encoder: Any | None) -> Tensor | None:
    """The pictures of faces as they are cut out for an adapter, (faces, size, size, channels); None without any.

    They have opacity as a fourth channel where the pictures that they were cut out of have it.
    """
    return PORTRAYALS[adapter.identity.variant.portrayal].cut(faces, encoder)


class Portrayal(NamedTuple):
    """How the picture of a face is read: a row of PORTRAYALS.

    cut: faces and encoder -> the pictures that are cut out, as `face_pictures` gives them.
    read: encoder, such pictures, mask and alpha -> their features, and what the encoder saw.
    """

    cut: Callable[[Faces, Any | None], Tensor | None]
    read: Callable[[Any, Tensor, Tensor | None, bool], tuple[Features, Tensor]]


def _cut_crops(faces: Faces, encoder: Any | None) -> Tensor | None:
    """As large as the encoder reads them."""
    size = encoder.image_size if encoder else _CROP
    crops, opacity = faces.crops(size), faces.opacity(size)
    return crops if crops is None or opacity is None else torch.cat([crops, opacity[..., None]], -1)


def _read_crops(encoder: Any, crops: Tensor, mask: Tensor | None, alpha: bool) -> tuple[Features, Tensor]:
    shown = images_to_read(encoder, crops, Look(mask=mask, alpha=alpha))
    seen = fit_pictures(encoder, shown.images, FITS[0])
    return _encode(encoder, seen, shown, FITS[0]), seen


def _read_on_white(encoder: Any, pictures: Tensor, mask: Tensor | None, alpha: bool) -> tuple[Features, Tensor]:
    seen = on_white(pictures, reference(pictures, mask, alpha).mask, encoder.image_size)
    return encode_levels(encoder, seen), seen.clamp(0, 1)


PORTRAYALS: dict[str, Portrayal] = {
    "crop": Portrayal(_cut_crops, _read_crops),
    "grey on white": Portrayal(lambda faces, encoder: cut_out(faces), _read_on_white),
}
"""By the word in Variant.portrayal."""


def _negative_inputs(adapter: LoadedAdapter, encoder: Any | None, negative: Faces | Tensor) -> AdapterInputs:
    """What an adapter reads of faces to move away from, or of images beside the embedding that stands for no face."""
    if isinstance(negative, Faces):
        return face_inputs(adapter, encoder, negative)[0]
    if adapter.identity.encoder is None:
        raise ValueError(
            f"Disconnect negative_image, or connect negative_faces in its place: {_reads_no_pictures(adapter)}"
        )
    portrayal = PORTRAYALS[adapter.identity.variant.portrayal]
    features, _ = portrayal.read(encoder, fit_pictures(encoder, negative, FITS[0]), None, False)
    return inputs_of_nobody(adapter, encoder, features, len(negative))


def _reads_no_pictures(adapter: LoadedAdapter) -> str:
    return f"{adapter.name} is a {adapter.identity.variant.name} adapter, which reads no pictures."


def inputs_of_nobody(adapter: LoadedAdapter, encoder: Any, features: Features, images: int) -> AdapterInputs:
    """What an adapter reads of so many images beside the embedding that stands for no face."""
    return select_inputs(adapter, encoder, features._replace(face=torch.zeros(images, WIDTH)))


def _read(adapter: LoadedAdapter, encoder: Any, shown: Reference, fit: str) -> tuple[AdapterInputs, Tensor]:
    """What an adapter reads of images, and the images as the encoder sees them."""
    seen = fit_pictures(encoder, shown.images, fit, adapter.identity.variant)
    return select_inputs(adapter, encoder, _encode(encoder, seen, shown, fit)), seen


def _encode(encoder: Any, seen: Tensor, shown: Reference, fit: str) -> Features:
    """Features of fitted images, with which of the hidden states are read."""
    features = encode(encoder, seen)
    if features.hidden is None:
        return features
    return features._replace(kept=shown.kept(encoder.image_size, fit, features.hidden.shape[1]))


def blank_inputs(
    adapter: LoadedAdapter, encoder: Any, cond: AdapterInputs, blank: Callable[[Any], Features] | None = None
) -> AdapterInputs:
    """The unconditional input, as the variant was trained: zeros, the encoder's features of a blank image, or what cond
    is, where the image is outside guidance.

    blank: encoder -> features of another image that stands for none.
    """
    variant = adapter.identity.variant
    if not variant.guided:
        return cond
    pairs = zip(variant.reads, zero_inputs(adapter, cond), strict=True)
    read = blank or partial(missing_features, variant=variant)
    return tuple(getattr(read(encoder), field) if zeros is None else zeros for field, zeros in pairs)


def zero_inputs(adapter: LoadedAdapter, cond: AdapterInputs) -> tuple[Tensor | None, ...]:
    """Zeros for those fields where they stand for a missing image, and None for the others."""
    variant = adapter.identity.variant
    pairs = zip(variant.reads, cond, strict=False)  # what is kept may stand behind them
    return tuple(torch.zeros_like(part[:1]) if field in variant.zeroed else None for field, part in pairs)


def select_inputs(adapter: LoadedAdapter, encoder: Any, features: Features) -> AdapterInputs:
    """Those features that the adapter reads. Raises ValueError when they are not of its encoder."""
    return features.select_for(adapter.identity, name_of(encoder))


def _check_encoder(adapter: LoadedAdapter, encoder: Any) -> None:
    """Raises ValueError when an encoder is surely not the one that adapters of this kind were trained with."""
    if found := build(encoder):
        check_own_encoder(adapter.identity, name_of(encoder), found)
