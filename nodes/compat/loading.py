"""What the loaders of the old pack do: names and presets -> IPADAPTER and INSIGHTFACE."""

from __future__ import annotations

from typing import Any

from ...ip_adapter_core.compat.presets import read_preset
from ..host import adapters, auto, faces, files, old_names, server
from ..host.sampling import model_patch
from .values import Bundle, pack


def load_ipadapter_model(ipadapter_file: str) -> tuple[Any, ...]:
    """The adapter of a file, by its name or one that means it. Raises ValueError where there is none."""
    match = old_names.find(files.ADAPTERS, ipadapter_file)
    _say(match.remark)
    return (pack(Bundle(adapters.load(match.name))),)


def load_models(
    model: Any, preset: str, lora_strength: float = 0.0, provider: str = "CPU", ipadapter: Any = None, **_: Any
) -> tuple[Any, ...]:
    """The model, with the adapter's LoRA if it has one, and the adapter of a preset with all that it reads with.

    ipadapter: of a loader before, which only spared the old pack to load twice. Raises ValueError where a file is
    missing.
    """
    wish = read_preset(preset)
    found = auto.find(model, wish.kind, wish.among, preset)
    reader = None
    if found.adapter.identity.reads_faces:
        reader = load_insightface(provider)[0]
        model = model_patch.apply_lora(model, found.adapter.patcher.model.lora, lora_strength)
    server.say(found.report.splitlines()[0])
    return model, pack(Bundle(found.adapter, found.encoder, reader), provider)


def load_insightface(provider: str = "CPU", model_name: str = "buffalo_l", **_: Any) -> tuple[Any, ...]:
    """The networks that find and recognise faces; the device is ComfyUI's. Raises ValueError where none are there."""
    match = old_names.face_model(model_name)
    _say(match.remark)
    return (faces.load(match.name),)


def _say(text: str) -> None:
    if text:
        server.say(text)
