"""Vision encoders in ComfyUI: OpenCLIP towers as CLIP_VISION, and what any CLIP_VISION says of images."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import comfy.clip_vision
import comfy.model_management as memory
import comfy.model_patcher
import comfy.utils
import torch
from torch import Tensor

from ...ip_adapter_core import vision as core
from ...ip_adapter_core.faces.features import Faces
from ...ip_adapter_core.preprocess import CLIP_MEAN, FITS, fit
from ...ip_adapter_core.prompt import Features, ImagePrompt, Reading
from ...ip_adapter_core.vision import VisionEncoder, VisionOutput
from . import files
from .adapters import LoadedAdapter

_CHUNK = 16  # images encoded at once: bounds memory for long batches
_CROP = 224  # pixels of a face's picture that no encoder reads

_loaded: WeakValueDictionary[files.Fingerprint, OpenClipVision] = WeakValueDictionary()


class OpenClipVision:
    """An OpenCLIP tower on the CLIP_VISION socket, with the attributes and methods of ComfyUI's own encoders."""

    def __init__(self, encoder: VisionEncoder, load_device: torch.device) -> None:
        self.model = encoder
        self.tower = encoder.tower
        self.image_size = encoder.tower.image_size
        self.image_mean, self.image_std = encoder.tower.mean, encoder.tower.std
        self.load_device = load_device
        self.patcher = comfy.model_patcher.ModelPatcher(
            encoder, load_device=load_device, offload_device=memory.text_encoder_offload_device()
        )

    def encode_image(self, image: Tensor, crop: bool = True) -> comfy.clip_vision.Output:
        """What core's CLIPVisionEncode calls: (images, height, width, 3) -> the fields core's encoders give."""
        pictures = fit(image, self.image_size, "center crop" if crop else "squash", self.image_mean)
        memory.load_models_gpu([self.patcher])
        return self._output(core.encode(self.model, pictures))

    def encode_blank(self) -> comfy.clip_vision.Output:
        """One image of zeros after normalisation."""
        memory.load_models_gpu([self.patcher])
        return self._output(core.blank(self.model))

    def _output(self, found: VisionOutput) -> comfy.clip_vision.Output:
        output = comfy.clip_vision.Output()
        output["image_embeds"] = _kept(found.embeds)
        output["penultimate_hidden_states"] = _kept(found.penultimate)
        output["last_hidden_state"] = _kept(found.last)
        output["image_sizes"] = [(3, self.image_size, self.image_size)] * len(found.embeds)
        output["mm_projected"] = None
        return output


def load(name: str, activation: str = "auto") -> OpenClipVision:
    """The encoder of a file in the `clip_vision` folders; the same object while any graph holds it.

    Raises UnsupportedCheckpoint when the file is no encoder that OpenCLIP knows.
    """
    file = files.path(files.ENCODERS, name)
    key = (*files.fingerprint(files.ENCODERS, name), activation)
    if (known := _loaded.get(key)) is None:
        device = memory.text_encoder_device()
        dtype = torch.float32 if memory.is_device_cpu(device) else memory.text_encoder_dtype(device)
        known = _loaded[key] = OpenClipVision(core.load(file, activation, dtype), device)
    return known


def image_prompt(
    adapter: LoadedAdapter, encoder: Any, images: Tensor, how: str, negative: Tensor | None = None
) -> tuple[ImagePrompt, Tensor]:
    """The prompt that an adapter makes of images, and the pictures the encoder saw, (images, size, size, 3).

    encoder: any CLIP_VISION; how: a row of preprocess.FITS; negative: images to move away from, by default the blank
    input of the adapter's training. Raises ValueError when encoder and adapter do not belong together.
    """
    if adapter.identity.reads_faces:
        raise ValueError(
            f"{adapter.name} is a {adapter.identity.variant.name} adapter, which reads faces: "
            "use Face Embedding and Encode Face Prompt instead of this node."
        )
    cond, seen = _pictures(adapter, encoder, images, how)
    uncond = _blank(adapter, encoder, cond) if negative is None else _pictures(adapter, encoder, negative, how)[0]
    return adapter.prompt(cond, uncond), seen


def _pictures(adapter: LoadedAdapter, encoder: Any, images: Tensor, how: str) -> tuple[Reading, Tensor]:
    """What an adapter reads of images, and the images as the encoder sees them."""
    seen = _fitted(encoder, images, how)
    return _read(adapter, encoder, _encoded(encoder, seen)), seen


def face_prompt(
    adapter: LoadedAdapter, encoder: Any | None, faces: Faces, shortcut: float, negative: Faces | None = None
) -> tuple[ImagePrompt, Tensor]:
    """The prompt that a FaceID or portrait adapter makes of faces, and their pictures, black where they have none.

    shortcut: of FaceID-Plus v2, how strongly the picture speaks beside the embedding. Else as `image_prompt`.
    """
    identity = adapter.identity
    if not identity.reads_faces:
        raise ValueError(
            f"{adapter.name} is a {identity.variant.name} adapter, which reads pictures: use Encode Image Prompt."
        )
    if identity.encoder and encoder is None:
        raise ValueError(
            f"{adapter.name} also reads the face's picture with {identity.encoder}: connect it to clip_vision."
        )
    cond, seen = _faces(adapter, encoder, faces)
    uncond = _blank(adapter, encoder, cond) if negative is None else _faces(adapter, encoder, negative)[0]
    return adapter.prompt(cond, uncond, **dict.fromkeys(identity.variant.scales, shortcut)), seen


def _faces(adapter: LoadedAdapter, encoder: Any | None, faces: Faces) -> tuple[Reading, Tensor]:
    """What an adapter reads of faces, and their pictures, as the encoder sees them if it reads any."""
    identity = adapter.identity
    embeddings = faces.raw if "face" in identity.variant.reads else faces.embeddings
    crops = faces.crops(encoder.image_size if encoder else _CROP)
    if identity.encoder is None:
        seen = torch.zeros(1, _CROP, _CROP, 3) if crops is None else crops
        return _read(adapter, encoder, Features(face=embeddings)), seen
    if crops is None:
        raise ValueError("This adapter also reads the face's picture, and these faces have none: connect one to them.")
    seen = _fitted(encoder, crops, FITS[0])
    return _read(adapter, encoder, _encoded(encoder, seen)._replace(face=embeddings)), seen


def features(encoder: Any, images: Tensor, how: str = FITS[0]) -> Features:
    """What an encoder says of images, through this package's preprocessing; encoder and how as in `image_prompt`."""
    return _features(encoder.encode_image(_fitted(encoder, images, how)))


def blank_features(encoder: Any) -> Features:
    """What an encoder says of one image of zeros after normalisation."""
    return _features(_encoded_blank(encoder))


def _fitted(encoder: Any, images: Tensor, how: str) -> Tensor:
    """Pictures as the encoder sees them."""
    return fit(images, encoder.image_size, how, getattr(encoder, "image_mean", CLIP_MEAN))


def _blank(adapter: LoadedAdapter, encoder: Any, cond: Reading) -> Reading:
    """The unconditional input: zeros, or what the encoder says of an image of zeros, as the variant was trained."""
    variant = adapter.identity.variant
    return tuple(
        torch.zeros_like(part[:1]) if field in variant.zeroed else getattr(blank_features(encoder), field)
        for field, part in zip(variant.reads, cond, strict=True)
    )


def _read(adapter: LoadedAdapter, encoder: Any, features: Features) -> Reading:
    tower = getattr(encoder, "tower", None)
    return features.read_by(adapter.identity, tower.name if tower else "CLIP vision encoder")


def _encoded(encoder: Any, pictures: Tensor) -> Features:
    """Features of pictures that already have the encoder's size, so that its own resizing has nothing to do."""
    progress = comfy.utils.ProgressBar(len(pictures))
    found = []
    for chunk in pictures.split(_CHUNK):
        memory.throw_exception_if_processing_interrupted()
        found.append(_features(encoder.encode_image(chunk)))
        progress.update(len(chunk))
    return Features(*(None if part[0] is None else torch.cat(part) for part in zip(*found, strict=True)))


def _encoded_blank(encoder: Any) -> Any:
    if isinstance(encoder, OpenClipVision):
        return encoder.encode_blank()
    memory.load_models_gpu([encoder.patcher])
    size = encoder.image_size
    last, penultimate, embeds, *_ = encoder.model(
        pixel_values=torch.zeros(1, 3, size, size, device=encoder.load_device), intermediate_output=-2
    )
    return {"image_embeds": embeds, "penultimate_hidden_states": penultimate, "last_hidden_state": last}


def _features(output: Any) -> Features:
    return Features(_kept(output["image_embeds"]), _kept(output["penultimate_hidden_states"]))


def _kept(tensor: Tensor | None) -> Tensor | None:
    """Results wait where ComfyUI wants intermediate results."""
    return None if tensor is None else tensor.to(memory.intermediate_device())
