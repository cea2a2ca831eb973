"""What scripts and other custom nodes may call: image prompts in three steps, load, encode and apply, and what then.

The names in `__all__`, their arguments and what they return stay as they are: docs/promises.md. How they are imported
beside ComfyUI and inside it: docs/python-api.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..ip_adapter_core.attention import export as exporting
from ..ip_adapter_core.attention.application import ApplyOptions
from ..ip_adapter_core.attention.balance import OFF
from ..ip_adapter_core.attention.projection import AUTO
from ..ip_adapter_core.prompts.combine import Gathering
from ..ip_adapter_core.prompts.prompt import ImagePrompt
from ..ip_adapter_core.settings import layer_weights
from ..ip_adapter_core.settings.instruction import Instruction
from ..ip_adapter_core.settings.span import Span
from .host import adapters, auto, encoding, face_embeds, faces, files, models, prompt_files, small_world, vision
from .host import instruction as instructions
from .host.adapters import LoadedAdapter
from .host.sampling import exchange, model_patch

__all__ = ["VERSION", "Loaded", "apply", "encode", "export", "instruct", "load", "load_files", "prompts", "replace"]

VERSION = 1
"""Of this interface; it grows when something is added."""


class Loaded(NamedTuple):
    """What an image prompt is made with.

    adapter: an IP-Adapter, as on the IP_ADAPTER socket.
    encoder: the CLIP_VISION that it reads pictures with; None where it reads none.
    """

    adapter: LoadedAdapter
    encoder: Any


def register() -> None:
    """Let ComfyUI look into this package's folders and know the demo's models; its server does so by itself."""
    files.register_folders()
    for room in (small_world, faces, face_embeds, prompt_files):
        room.register()


def load(model: Any, kind: str = "any") -> Loaded:
    """The adapter on disk that fits a MODEL best, and its encoder.

    kind: as in the menu of the node Load IP-Adapter (auto). Raises ValueError, which says what to download and where
    to, when one is missing.
    """
    found = auto.find(model, kind)
    return Loaded(found.adapter, found.encoder)


def load_files(adapter: str, encoder: str | None = None) -> Loaded:
    """An adapter and an encoder by the names of their files in ComfyUI's folders ipadapter and clip_vision.

    Raises ValueError when a file is not there, or is none of its kind.
    """
    return Loaded(adapters.load(adapter), vision.load(encoder) if encoder else None)


@torch.no_grad()
def instruct(clip: Any, instruction: str, prompt: str, negative_prompt: str = "") -> Instruction:
    """What an adapter of kind Instruct is told, for `encode`.

    clip: the CLIP of the SD1.5 or SDXL checkpoint. instruction: what to take from the pictures. prompt,
    negative_prompt: the words of the conditioning. As on the node Image Prompt Instruction. Raises ValueError for
    another CLIP, without an instruction, and for what are no texts.
    """
    for name, text in (("instruction", instruction), ("prompt", prompt), ("negative_prompt", negative_prompt)):
        if not isinstance(text, str):
            raise ValueError(f"Give {name} as a text; found {type(text).__name__}.")
    return instructions.instruct(clip, instruction, prompt, negative_prompt)


@torch.no_grad()
def encode(
    loaded: Loaded,
    images: Tensor,
    *,
    negative: Tensor | None = None,
    combine: str = "concat",
    weights: Sequence[float] = (),
    fit: str = "center crop",
    reference_mask: Tensor | None = None,
    instruction: Instruction | None = None,
) -> ImagePrompt:
    """The image prompt of pictures (images, height, width, 3), 0..1.

    negative: pictures to move away from. combine, weights and fit: as on the node Encode Image Prompt. reference_mask:
    (masks, height, width), 0..1, which part of each picture is read. instruction: of `instruct`, what to take from
    them; adapters of kind Instruct need it, and others do not read it. Raises ValueError when the adapter and the
    encoder do not belong together, when an adapter must be told something and is not, and for what are no such
    pictures.
    """
    for pictures in (images, *([] if negative is None else [negative])):
        _check(pictures)
    if not isinstance(instruction, Instruction | None):
        raise ValueError(f"Give instruction as instruct(clip, …) returns it; found {type(instruction).__name__}.")
    look = encoding.Look(fit, Gathering(combine, tuple(weights)), mask=reference_mask, instruction=instruction)
    return encoding.encode_prompt(loaded.adapter, loaded.encoder, images, look, negative)[0]


def apply(
    model: Any,
    prompt: ImagePrompt,
    weight: float = 1.0,
    *,
    start: float = 0.0,
    end: float = 1.0,
    weight_type: str = "linear",
    mask: Tensor | None = None,
    balance: str = OFF,
    method: str = AUTO,
) -> Any:
    """A clone of a MODEL that follows an image prompt; the given one stays as it is.

    weight: λ. start, end: parts of the noise schedule, 0..1. weight_type: as on the node Layer Weights. mask: (masks,
    height, width), 0..1, where in the picture. balance, method: as on the node Apply Image Prompt; method is of PuLID.
    Raises ValueError when the prompt does not fit the model, and for a method where its adapter has none.
    """
    layers = layer_weights.from_weight_type(weight_type)
    use = ApplyOptions(weight, Span(start, end), layers, mask=mask, balance=balance, method=method)
    return model_patch.apply(model, prompt, use)


def prompts(model: Any) -> tuple[ImagePrompt, ...]:
    """The image prompts that a MODEL follows, by whatever nodes or calls, in the order in which they were applied.

    One that was applied at weight 0 is not among them.
    """
    return exchange.prompts_of(model)


def replace(model: Any, old: ImagePrompt, new: ImagePrompt) -> Any:
    """A clone of a MODEL that follows a new image prompt in place of an old one; the given one stays as it is.

    old: one of `prompts(model)`. The new prompt acts as the old one did: its weight, times, layers and mask, and its
    place among others, bit for bit as if it had been applied in the first place. Raises ValueError when the model does
    not follow the old prompt, and when the new one does not fit the model.
    """
    return exchange.exchange(model, old, new)


def export(model: Any, file: str | Path) -> None:
    """Write K', V' and λ of the image prompts that a MODEL follows to a safetensors file, for other programs.

    What is in it, and how it is applied: docs/python-api.md and its own header. A file that is there is replaced.
    Raises ValueError for a model without image prompts, for Flux, SD3.5 and Anima, and for prompts that differ by
    frame, by place, by a schedule or by what the text says, as PuLID's do but with the method neutral.
    """
    exporting.export(model_patch.installed_applications(model), models.layers(model)).save(Path(file))


def _check(pictures: Tensor) -> None:
    """Raises ValueError for what are no pictures."""
    if pictures.ndim != 4 or pictures.shape[-1] not in (3, 4) or not pictures.is_floating_point():
        found = f"{pictures.dtype} of shape {tuple(pictures.shape)}"
        raise ValueError(f"Give pictures as (images, height, width, 3) in floats from 0 to 1; found {found}.")
