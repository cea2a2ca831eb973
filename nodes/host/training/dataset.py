"""Captioned pictures as the models of a graph see them: what an adapter is trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_management as memory
import folder_paths
import torch
from torch import Tensor

from ....ip_adapter_core.adapters.variants import VARIANTS
from ....ip_adapter_core.prompts.features import Features
from ....ip_adapter_core.training import pairs
from ....ip_adapter_core.training.cache import cache_examples
from ....ip_adapter_core.training.pictures import NUMBERS, Picture
from ....ip_adapter_core.training.shards import CachedExamples, Rows
from .. import vision
from . import model_identity

# The field of Features that an adapter reads -> what it reads of a dropped image, as in the published training: zeros
# for embeddings, the blank image for hidden states.
_NULLS: dict[str, Callable[[Any, Features], Tensor | None]] = {
    "embeds": lambda encoder, blank: None if blank.embeds is None else torch.zeros_like(blank.embeds),
    "hidden": lambda encoder, blank: blank.hidden,
}


@dataclass(frozen=True, eq=False)
class HostEncoder:
    """The frozen models of a graph, which encode pictures and captions for a kind of adapter.

    model: the MODEL that is trained on; it scales the latents.
    clip: the text encoder.
    vae: the VAE.
    clip_vision: the vision encoder.
    reads: the field of Features that the kind reads.
    """

    model: Any
    clip: Any
    vae: Any
    clip_vision: Any
    reads: str

    @property
    def sees(self) -> int:
        """Pixels along each side that the vision encoder reads."""
        size: int = self.clip_vision.image_size
        return size

    @property
    def interpolation(self) -> str:
        """How pictures are resized for the vision encoder."""
        return vision.interpolation(self.clip_vision)

    def identity(self) -> str:
        """A digest of the encoders' weights; the MODEL only scales latents."""
        return model_identity.identity(self.clip, self.vae, self.clip_vision)

    @torch.no_grad()
    def encode(self, pictures: Picture, captions: Sequence[str]) -> Rows:
        """latents as the model sees them, features, context, pooled where the text encoder has it, and NUMBERS."""
        latents = self.model.model.process_latent_in(self.vae.encode(pictures.square))
        features = self._read(vision.features(self.clip_vision, pictures.seen))
        numbers = dict(zip(NUMBERS, pictures.numbers.unbind(dim=1), strict=True))
        return {"latents": latents.float(), "features": features.float(), **numbers, **self._texts(captions)}

    @torch.no_grad()
    def nulls(self) -> Rows:
        """The empty text, and what stands for a dropped image."""
        null = _NULLS[self.reads](self.clip_vision, vision.blank_features(self.clip_vision))
        if null is None:
            raise ValueError(self._missing())
        return {"features": null.float(), **self._texts([""])}

    def _read(self, features: Features) -> Tensor:
        field: Tensor | None = getattr(features, self.reads)
        if field is None:
            raise ValueError(self._missing())
        return field

    def _missing(self) -> str:
        return f"Load a CLIP ViT, or train another kind; this CLIP_VISION gives no {self.reads} of an image."

    def _texts(self, captions: Sequence[str]) -> Rows:
        texts = [self._text(caption) for caption in captions]
        return {name: torch.cat([text[name] for text in texts]) for name in texts[0]}

    def _text(self, caption: str) -> Rows:
        """The first part of a caption, as long as the text encoder reads at once (77 tokens for CLIP)."""
        verbatim = caption.replace("(", "\\(").replace(")", "\\)")  # a caption's brackets are no weights
        tokens = {name: chunks[:1] for name, chunks in self.clip.tokenize(verbatim).items()}
        context, pooled = self.clip.encode_from_tokens(tokens, return_pooled=True)
        return {"context": context.float()} | ({} if pooled is None else {"pooled": pooled.float()})


def reads(kind: str) -> str:
    """The field of Features that a kind of adapter reads."""
    return next(variant.reads[0] for variant in VARIANTS if variant.name == kind)


def locate(source: str) -> Path:
    """Where a data set lies: an absolute path, or one in ComfyUI's input folder. Raises ValueError for an empty one."""
    if not source or not source.strip():
        raise ValueError(
            "Write dataset as the path of a folder of pictures, a list file or .tar shards; found nothing."
        )
    return Path(folder_paths.get_input_directory()) / os.path.expanduser(source.strip())


def examples(
    source: Path,
    encoder: HostEncoder,
    resolution: int,
    on_picture: Callable[[int, int], None] | None = None,
    cache: Path | None = None,
) -> CachedExamples:
    """The pictures of a data set, encoded.

    on_picture(done, of): is called with how far the encoding is.
    cache: the folder for what is encoded, by default one in which every run with the same models finds it.

    Raises ValueError like pairs.find and cache_examples.
    """
    captioned = pairs.find(source, memory.throw_exception_if_processing_interrupted)
    return cache_examples(cache or training_folder() / "_features", captioned, encoder, resolution, on_picture)


def training_folder() -> Path:
    """The folder in which training keeps its files."""
    return Path(folder_paths.get_output_directory()) / "ip_adapter_training"


def check(encoder: HostEncoder) -> None:
    """Raises ValueError when VAE and model do not belong together."""
    channels, needed = encoder.vae.latent_channels, encoder.model.model.latent_format.latent_channels
    if channels != needed:
        raise ValueError(
            f"Load the model's VAE; this one gives latents of {channels} channels, and the model needs {needed}."
        )
