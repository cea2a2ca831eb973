"""Vision encoders in ComfyUI: OpenCLIP towers as CLIP_VISION, and the features of images from any CLIP_VISION."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import comfy.clip_vision
import comfy.model_management as memory
import comfy.model_patcher
import comfy.utils
import torch
from comfy.patcher_extension import CallbacksMP
from torch import Tensor, nn

from ...ip_adapter_core.adapters.variants import Variant
from ...ip_adapter_core.catalogue.own_encoder import CLIP, SIGLIP, Build, read_build
from ...ip_adapter_core.prompts.features import Features
from ...ip_adapter_core.vision import encoder as core
from ...ip_adapter_core.vision.encoder import VisionEncoder, VisionOutput
from ...ip_adapter_core.vision.layouts import find_layout, name_for_file, values
from ...ip_adapter_core.vision.preprocess import BICUBIC, CLIP_MEAN, FITS, fit
from ...ip_adapter_core.vision.towers import AS_TRAINED
from . import files
from .vision_model import CoreModel

# How many images are encoded at once, which bounds memory: of this size on a GPU, and on a processor, which computes
# few as fast as many and then finds their activations in its cache; fewer if images are larger.
_CHUNK, _CHUNK_ON_PROCESSOR, _CHUNK_SIZE = 16, 4, 224

NORMED = "normed_hidden_states"
"""What a CLIP_VISION_OUTPUT of our encoders has beside core's fields: the last states after the final norm."""


# By core's word for a model: how it is built, and how many tokens stand before the patches.
_CONSTRUCTIONS = {
    "clip_vision_model": (CLIP, 1),
    "siglip_vision_model": (SIGLIP, 0),
    "siglip2_vision_model": (SIGLIP, 0),
}
_SIZES = {"num_hidden_layers", "patch_size", "image_size"}


class OpenClipVision(comfy.clip_vision.ClipVisionModel):
    """An OpenCLIP tower on the CLIP_VISION socket, with the attributes and methods of ComfyUI's own encoders.

    file: where it was read from, if it was; other parts of a whole CLIP may be there too.
    """

    def __init__(self, encoder: VisionEncoder, load_device: torch.device, file: str | None = None) -> None:
        # Not the inherited one, which would build a model of core's own.
        self.encoder, self.model, self.file = encoder, CoreModel(encoder), file
        self.tower = encoder.tower
        self.image_size = encoder.tower.image_size
        self.image_mean, self.image_std = list(encoder.tower.mean), list(encoder.tower.std)
        self.interpolation = encoder.tower.interpolation
        self.config, self.model_type = self.model.config, self.model.config["model_type"]
        self.return_all_hidden_states = False
        self.load_device, self.dtype = load_device, encoder.weight.dtype
        self.patcher = patcher(self.model, load_device)

    def load_sd(self, sd: Mapping[str, Tensor]) -> Any:
        """Take the weights of a state dict in transformers' or OpenCLIP's naming.

        It returns the names that are missing and those that are unexpected.

        Raises UnsupportedCheckpoint when there is no vision tower in it.
        """
        weights = values(sd, find_layout(sd), self.dtype)
        return self.encoder.visual.load_state_dict(weights, strict=False)

    def get_sd(self) -> dict[str, Tensor]:
        """The weights, in transformers' naming where the tower has names there."""
        return name_for_file(self.encoder.visual.state_dict())

    def encode_image(self, image: Tensor, crop: bool = True) -> comfy.clip_vision.Output:
        """What core's CLIPVisionEncode calls: (images, height, width, 3) -> the fields core's encoders give."""
        pictures = fit_pictures(self, image, "center crop" if crop else "squash")
        memory.load_models_gpu([self.patcher])
        return self._output(core.encode(self.encoder, pictures))

    def encode_levels(self, pictures: Tensor) -> Features:
        """Embeds and levels of pictures of the encoder's size, (images, size, size, 3), of a tower that has levels."""
        memory.load_models_gpu([self.patcher])
        embeds, levels = core.encode_levels(self.encoder, pictures)
        return Features(_off_device(embeds), levels=_off_device(levels))

    def encode_blank(self) -> comfy.clip_vision.Output:
        """One image of zeros after normalisation."""
        memory.load_models_gpu([self.patcher])
        return self._output(core.blank(self.encoder))

    def _output(self, encoded: VisionOutput) -> comfy.clip_vision.Output:
        output = comfy.clip_vision.Output()
        output["image_embeds"] = _off_device(encoded.embeds)
        output["penultimate_hidden_states"] = _off_device(encoded.penultimate)
        output["last_hidden_state"] = _off_device(encoded.last)
        if (normed := self.encoder.normed(encoded.last)) is not None:
            output[NORMED] = _off_device(normed)
        output["image_sizes"] = [(3, self.image_size, self.image_size)] * len(encoded.embeds)
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


def patcher(model: nn.Module, load_device: torch.device) -> comfy.model_patcher.ModelPatcher:
    """What the host moves an encoder with: to this device, wholly, and back where it keeps text encoders."""
    made = comfy.model_patcher.ModelPatcher(
        model, load_device=load_device, offload_device=memory.text_encoder_offload_device()
    )
    made.add_callback(CallbacksMP.ON_LOAD, _move_all)
    return made


def _move_all(patcher: comfy.model_patcher.ModelPatcher, device: torch.device, *more: Any) -> None:
    """Move the parameters too that lie beside layers: where there is little room, the host leaves them (0.30)."""
    patcher.model.to(device)


def _read(file: str, activation: str, resolution: str) -> OpenClipVision:
    device = memory.text_encoder_device()
    dtype = torch.float32 if memory.is_device_cpu(device) else memory.text_encoder_dtype(device)
    return OpenClipVision(core.load(file, activation, dtype, resolution), device, file)


def features(encoder: Any, images: Tensor, how: str = FITS[0]) -> Features:
    """Features of images, all encoded at once. encoder: any CLIP_VISION; how: a row of preprocess.FITS."""
    return _features(encoder.encode_image(fit_pictures(encoder, images, how)))


def blank_features(encoder: Any) -> Features:
    """Features of one image that is all zeros after normalisation."""
    return _features(_encode_blank(encoder))


def black_features(encoder: Any) -> Features:
    """Features of one black picture."""
    return encode(encoder, torch.zeros(1, encoder.image_size, encoder.image_size, 3))


def missing_features(encoder: Any, variant: Variant) -> Features:
    """Features of the picture that stands for none, as an adapter's kind was trained."""
    return black_features(encoder) if variant.black else blank_features(encoder)


def fit_pictures(encoder: Any, images: Tensor, how: str, variant: Variant | None = None) -> Tensor:
    """Images at the encoder's size, as it sees them: (images, size, size, 3).

    how: a row of preprocess.FITS. variant: the kind of adapter that reads them, whose authors may have padded and
    resized in another way; by default pictures are padded with the colour that is zero after normalisation.
    """
    around = variant.border if variant else None
    resized = variant.interpolation if variant else None
    return fit(images, encoder.image_size, how, around or neutral(encoder), resized or interpolation(encoder))


def neutral(encoder: Any) -> Sequence[float]:
    """The colour that is zero after normalisation."""
    mean: Sequence[float] = getattr(encoder, "image_mean", CLIP_MEAN)
    return mean


def interpolation(encoder: Any) -> str:
    """How pictures are resized for an encoder, of preprocess.INTERPOLATIONS; ComfyUI's own do not say."""
    how: str = getattr(encoder, "interpolation", BICUBIC)
    return how


def build(encoder: Any) -> Build | None:
    """How an encoder is built; None where it does not say."""
    if isinstance(encoder, OpenClipVision):
        return read_build(encoder.tower)
    config = getattr(encoder, "config", None)
    if not isinstance(config, Mapping) or config.get("model_type") not in _CONSTRUCTIONS or not config.keys() >= _SIZES:
        return None
    construction, class_token = _CONSTRUCTIONS[config["model_type"]]
    patch = config["patch_size"]
    tokens = config.get("num_patches", (config["image_size"] // patch) ** 2 + class_token)
    return Build(construction, config["num_hidden_layers"], patch, tokens)


def name_of(encoder: Any) -> str:
    """What an encoder is called, for the user."""
    tower = getattr(encoder, "tower", None)
    return tower.name if tower else "CLIP vision encoder"


def encode(encoder: Any, pictures: Tensor) -> Features:
    """Features of pictures that already have the encoder's size, encoded in chunks with a progress bar."""
    return _in_chunks(encoder, pictures, lambda chunk: _features(encoder.encode_image(chunk)))


def encode_levels(encoder: Any, pictures: Tensor) -> Features:
    """Embeds and levels of pictures that already have the encoder's size; nothing of an encoder without levels."""
    if not (isinstance(encoder, OpenClipVision) and encoder.tower.levels):
        return Features()
    return _in_chunks(encoder, pictures, encoder.encode_levels)


def _in_chunks(encoder: Any, pictures: Tensor, read: Callable[[Tensor], Features]) -> Features:
    progress = comfy.utils.ProgressBar(len(pictures))
    by_chunk = []
    for chunk in pictures.split(_chunk(encoder)):
        memory.throw_exception_if_processing_interrupted()
        by_chunk.append(read(chunk))
        progress.update(len(chunk))
    return Features(*(None if field[0] is None else torch.cat(field) for field in zip(*by_chunk, strict=True)))


def encode_masked(encoder: Any, images: Tensor, mask: Tensor | None = None) -> Features:
    """Features of images; mask (masks, size, size), 0..1: where they are looked at, elsewhere is the neutral colour."""
    pictures = fit_pictures(encoder, images, FITS[0])
    if mask is not None:
        pictures = pictures.new_tensor(neutral(encoder)).lerp(pictures, mask[..., None].clamp(0, 1).to(pictures))
    return encode(encoder, pictures)


def _chunk(encoder: Any) -> int:
    """How many pictures of the encoder's size are encoded at once."""
    at_once = _CHUNK_ON_PROCESSOR if memory.is_device_cpu(encoder.load_device) else _CHUNK
    return max(1, int(at_once * min(1.0, _CHUNK_SIZE / encoder.image_size) ** 2))


def _encode_blank(encoder: Any) -> Any:
    if isinstance(encoder, OpenClipVision):
        return encoder.encode_blank()
    memory.load_models_gpu([encoder.patcher])
    size = encoder.image_size
    last, penultimate, embeds, *_ = encoder.model(
        pixel_values=torch.zeros(1, 3, size, size, device=encoder.load_device), intermediate_output=-2
    )
    return {"image_embeds": embeds, "penultimate_hidden_states": penultimate, "last_hidden_state": last}


def _features(output: Any) -> Features:
    embeds, hidden = (_off_device(output[name]) for name in ("image_embeds", "penultimate_hidden_states"))
    return Features(embeds, hidden, normed_hidden=_off_device(getattr(output, NORMED, None)))


def _off_device(tensor: Tensor | None) -> Tensor | None:
    """A result where ComfyUI wants intermediate results."""
    return None if tensor is None else tensor.to(memory.intermediate_device())
