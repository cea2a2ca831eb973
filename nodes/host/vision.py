"""Vision encoders in ComfyUI: OpenCLIP towers as CLIP_VISION, and what any CLIP_VISION says of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import comfy.clip_vision
import comfy.model_management as memory
import comfy.model_patcher
import comfy.utils
import torch
from comfy.patcher_extension import CallbacksMP
from torch import Tensor

from ...ip_adapter_core.prompts.features import Features
from ...ip_adapter_core.vision import encoder as core
from ...ip_adapter_core.vision.encoder import VisionEncoder, VisionOutput
from ...ip_adapter_core.vision.layouts import find_layout, name_for_file, values
from ...ip_adapter_core.vision.preprocess import CLIP_MEAN, FITS, fit
from ...ip_adapter_core.vision.towers import AS_TRAINED
from . import files
from .vision_model import CoreModel

# Images of so many pixels encoded at once, fewer if they are larger: bounds memory. A processor computes few as fast as
# many, and then finds their activations in its cache.
_CHUNK, _ON_PROCESSOR, _USUAL = 16, 4, 224


class OpenClipVision(comfy.clip_vision.ClipVisionModel):
    """An OpenCLIP tower on the CLIP_VISION socket, with the attributes and methods of ComfyUI's own encoders."""

    def __init__(self, encoder: VisionEncoder, load_device: torch.device) -> None:
        # Not the inherited one, which would build a model of core's own.
        self.encoder, self.model = encoder, CoreModel(encoder)
        self.tower = encoder.tower
        self.image_size = encoder.tower.image_size
        self.image_mean, self.image_std = list(encoder.tower.mean), list(encoder.tower.std)
        self.config, self.model_type = self.model.config, self.model.config["model_type"]
        self.return_all_hidden_states = False
        self.load_device, self.dtype = load_device, encoder.weight.dtype
        self.patcher = comfy.model_patcher.ModelPatcher(
            self.model, load_device=load_device, offload_device=memory.text_encoder_offload_device()
        )
        self.patcher.add_callback(CallbacksMP.ON_LOAD, _move_all)

    def load_sd(self, sd: Mapping[str, Tensor]) -> Any:
        """Take the weights of a state dict in transformers' or OpenCLIP's naming; the names that lack and are too many.

        Raises UnsupportedCheckpoint when there is no vision tower in it.
        """
        weights = values(sd, find_layout(sd), self.dtype)
        return self.encoder.visual.load_state_dict(weights, strict=False)

    def get_sd(self) -> dict[str, Tensor]:
        """The weights, in transformers' naming where the tower has names there."""
        return name_for_file(self.encoder.visual.state_dict())

    def encode_image(self, image: Tensor, crop: bool = True) -> comfy.clip_vision.Output:
        """What core's CLIPVisionEncode calls: (images, height, width, 3) -> the fields core's encoders give."""
        pictures = fit(image, self.image_size, "center crop" if crop else "squash", self.image_mean)
        memory.load_models_gpu([self.patcher])
        return self._output(core.encode(self.encoder, pictures))

    def encode_blank(self) -> comfy.clip_vision.Output:
        """One image of zeros after normalisation."""
        memory.load_models_gpu([self.patcher])
        return self._output(core.blank(self.encoder))

    def _output(self, found: VisionOutput) -> comfy.clip_vision.Output:
        output = comfy.clip_vision.Output()
        output["image_embeds"] = _kept(found.embeds)
        output["penultimate_hidden_states"] = _kept(found.penultimate)
        output["last_hidden_state"] = _kept(found.last)
        output["image_sizes"] = [(3, self.image_size, self.image_size)] * len(found.embeds)
        output["mm_projected"] = None
        return output


_loaded = files.Shared[OpenClipVision]()


def load(name: str, activation: str = "auto", resolution: str = AS_TRAINED) -> OpenClipVision:
    """The encoder of a file in the `clip_vision` folders; the same object while any graph holds it.

    resolution: as in `Tower.at`. Raises UnsupportedCheckpoint when the file is no encoder that OpenCLIP knows, and
    ValueError when it cannot have the resolution.
    """
    file = files.path(files.ENCODERS, name)
    key = (*files.fingerprint(files.ENCODERS, name), activation, resolution)
    return _loaded.get(key, lambda: _read(file, activation, resolution))


def _move_all(patcher: comfy.model_patcher.ModelPatcher, device: torch.device, *more: Any) -> None:
    """The host leaves parameters that lie beside layers where they are when there is little room (0.30)."""
    patcher.model.to(device)


def _read(file: str, activation: str, resolution: str) -> OpenClipVision:
    device = memory.text_encoder_device()
    dtype = torch.float32 if memory.is_device_cpu(device) else memory.text_encoder_dtype(device)
    return OpenClipVision(core.load(file, activation, dtype, resolution), device)


def features(encoder: Any, images: Tensor, how: str = FITS[0]) -> Features:
    """What an encoder says of images, through this package's preprocessing; encoder and how as in `image_prompt`."""
    return _features(encoder.encode_image(fit_pictures(encoder, images, how)))


def blank_features(encoder: Any) -> Features:
    """What an encoder says of one image of zeros after normalisation."""
    return _features(_encoded_blank(encoder))


def fit_pictures(encoder: Any, images: Tensor, how: str) -> Tensor:
    """Pictures as the encoder sees them."""
    return fit(images, encoder.image_size, how, getattr(encoder, "image_mean", CLIP_MEAN))


def encode(encoder: Any, pictures: Tensor) -> Features:
    """Features of pictures that already have the encoder's size, so that its own resizing has nothing to do."""
    progress = comfy.utils.ProgressBar(len(pictures))
    found = []
    at_once = _ON_PROCESSOR if memory.is_device_cpu(encoder.load_device) else _CHUNK
    for chunk in pictures.split(max(1, int(at_once * min(1.0, _USUAL / encoder.image_size) ** 2))):
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
