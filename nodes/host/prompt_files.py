"""Files of image prompts: where ComfyUI keeps them, saving, and the prompts that an adapter makes of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.model_management as memory
import folder_paths
import torch
from torch import Tensor

from ...ip_adapter_core.adapters import saving
from ...ip_adapter_core.catalogue.by_name import find_by_name
from ...ip_adapter_core.prompts import ipadpt, saved
from ...ip_adapter_core.prompts.features import AdapterInputs
from ...ip_adapter_core.prompts.prompt import ImagePrompt
from ...ip_adapter_core.prompts.saved import Maker
from ...ip_adapter_core.text.wording import shown
from . import files
from .adapters import LoadedAdapter
from .vision import missing_features

CATEGORY = "image_prompts"
NONE = "none"

_INPUT = "ip_adapter_embeds_in_input"
_IN_INPUT = " [input]"  # as ComfyUI writes where a file lies; IPAdapter Plus loads its files from there


def register() -> None:
    """Make ComfyUI look for image prompts in models/image_prompts and the user's extra paths."""
    folder_paths.add_model_folder_path(CATEGORY, os.path.join(folder_paths.models_dir, CATEGORY))
    paths, extensions = folder_paths.folder_names_and_paths[CATEGORY]
    ours = {saved.ENDING, ipadpt.ENDING}
    folder_paths.folder_names_and_paths[CATEGORY] = (paths, {*extensions, *ours})


def names() -> list[str]:
    """What the menu offers: the files of the category, then files of embeds in ComfyUI's input folder."""
    return [*folder_paths.get_filename_list(CATEGORY), *(f"{name}{_IN_INPUT}" for name in embeds_in_input())]


def negatives(offered: list[str]) -> list[str]:
    """Those choices of the menu that can be a negative: files of embeds, or NONE."""
    return [NONE, *filter(_holds_embeds, offered)]


def complaint(name: str | None) -> str | None:
    """Why a file cannot be used, whatever the adapter, or None; as `files.complaint`."""
    try:
        if name is not None:
            about(name)
        return None
    except ValueError as error:
        return str(error)


def fingerprint(*names: str | None) -> files.Fingerprint:
    """Changes when one of the files is exchanged."""
    return tuple(_fingerprint(name) for name in names)


def about(name: str) -> str:
    """What a file is, in one line for people.

    Raises ValueError when it is gone, or UnsupportedCheckpoint when it is no prompt.
    """
    file = _path(name)
    if _holds_embeds(name):
        return f"{name}: embeds of IPAdapter Plus, {ipadpt.describe(ipadpt.embeds(file))}"
    return f"{name}: {saved.label(file).describe()}"


def save(prompt: ImagePrompt, prefix: str, note: str = "") -> str:
    """Write a prompt to a new file of the first folder, and return its name there.

    Raises ValueError for a prefix that is no name in that folder, and as `prompt_files.save` does.
    """
    folder = Path(files.folders(CATEGORY)[0])
    path = saving.free_path(folder, prefix)
    saved.save(prompt, path, note)
    return path.relative_to(folder.resolve()).as_posix()


def load(adapter: LoadedAdapter, name: str, encoder: Any | None = None, negative: str = NONE) -> ImagePrompt:
    """The prompt of a file, for the adapter that made it; of a file of embeds, for any adapter that reads such.

    encoder: any CLIP_VISION, asked about the blank image, and negative: another file of embeds; both only for embeds.
    Raises ValueError when the files do not suit the adapter or each other.
    """
    _check_negative(name, negative)
    if _holds_embeds(name):
        cond = ipadpt.read_inputs(_path(name), adapter.identity)
        return adapter.prompt(cond, _uncond(adapter, cond, encoder, negative))
    network = adapter.patcher.model
    maker = Maker(adapter.identity, adapter.origin, network.token_width, adapter.keys_values, network.lora, adapter)
    prompt = saved.load(_path(name), maker)
    device = memory.intermediate_device()
    return replace(prompt, parts=tuple(replace(part, tokens=part.tokens.to(device)) for part in prompt.parts))


def load_embeds(name: str) -> Tensor:
    """The one tensor in a file of embeds in the input folder, found also where only folders or separators differ.

    Raises ValueError when the file is gone, or UnsupportedCheckpoint when it holds no embeds.
    """
    file = _path(f"{name}{_IN_INPUT}")
    return next(tensor for tensor in ipadpt.embeds(file) if tensor is not None)


def embeds_fingerprint(name: str | None) -> files.Fingerprint:
    """Changes when a file of embeds in the input folder is exchanged."""
    return _fingerprint(f"{name or ''}{_IN_INPUT}")


def save_embeds(embeds: Tensor, prefix: str) -> str:
    """Write embeds to a new file of ComfyUI's output folder, and return its path.

    Raises ValueError for a prefix that leads out of the folder.
    """
    folder, name, counter, *_ = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory())
    path = Path(folder, f"{name}_{counter:05}_{ipadpt.ENDING}")
    ipadpt.save(embeds, path)
    return str(path)


def _uncond(adapter: LoadedAdapter, cond: AdapterInputs, encoder: Any | None, negative: str) -> AdapterInputs:
    """The unconditional input: what is read of a negative file; else the encoder's features of the blank image, where
    the kind was trained with them, or cond, where it was trained without any; else zeros."""
    variant = adapter.identity.variant
    if negative != NONE:
        return _check_shapes(ipadpt.read_inputs(_path(negative), adapter.identity), cond, negative)
    if not variant.guided:
        return cond
    if encoder is None or set(variant.reads) <= set(variant.zeroed):
        return tuple(torch.zeros_like(part[:1]) for part in cond)
    connected = "CLIP vision encoder"
    blank = missing_features(encoder, variant).select_for(adapter.identity, connected)
    return _check_shapes(blank, cond, f"the connected {connected}")


def _check_shapes(uncond: AdapterInputs, cond: AdapterInputs, source: str) -> AdapterInputs:
    """The unconditional input, or ValueError where an encoder of another resolution made it."""
    for ours, chosen in zip(uncond, cond, strict=True):
        if ours.shape[1:] != chosen.shape[1:]:
            raise ValueError(
                f"Choose files of one encoder at one resolution; {source} gives {ours.shape[1]} hidden "
                f"states of an image, and the chosen file has {chosen.shape[1]}."
            )
    return uncond


def _check_negative(name: str, negative: str | None) -> None:
    if negative in (None, NONE):
        return
    if not _holds_embeds(str(negative)):
        raise ValueError(f"Set negative to a file of embeds ({ipadpt.ENDING}) or {NONE}; {negative} cannot be one.")
    if not _holds_embeds(name):
        raise ValueError(f"Set negative to {NONE}; {name} has a negative side of its own.")


def _holds_embeds(name: str) -> bool:
    return name.removesuffix(_IN_INPUT).lower().endswith(ipadpt.ENDING)


def embeds_in_input() -> list[str]:
    """Files of embeds in the input folder, by name.

    It may be large: made a category, ComfyUI lists it only when it changes.
    """
    folder = folder_paths.get_input_directory()
    if folder_paths.folder_names_and_paths.get(_INPUT, ([],))[0] != [folder]:
        folder_paths.folder_names_and_paths[_INPUT] = ([folder], {ipadpt.ENDING})
        folder_paths.filename_list_cache.pop(_INPUT, None)
    return [Path(name).as_posix() for name in folder_paths.get_filename_list(_INPUT)]


def _here(name: str) -> str:
    """The choice of the menu that a name means, also one of another computer; else the name."""
    if name.endswith(_IN_INPUT):
        inner = name.removesuffix(_IN_INPUT)
        return f"{find_by_name(inner, embeds_in_input()) or inner}{_IN_INPUT}"
    return find_by_name(name, folder_paths.get_filename_list(CATEGORY)) or name


def _path(name: str) -> Path:
    """Full path of a file. Raises ValueError when it is not there any more."""
    name = _here(name)
    if not name.endswith(_IN_INPUT):
        return Path(files.path(CATEGORY, name))
    inner, folder = name.removesuffix(_IN_INPUT), folder_paths.get_input_directory()
    if inner not in embeds_in_input():  # no other name leads out of the folder
        raise ValueError(f"Choose another file, or put it there: {shown(inner)} is not in {folder}.")
    return Path(folder, inner)


def _fingerprint(name: str | None) -> files.Fingerprint:
    name = name if name is None else _here(name)
    if name is None or not name.endswith(_IN_INPUT):
        return files.fingerprint(CATEGORY, None if name == NONE else name)
    try:
        status = _path(name).stat()
    except (ValueError, OSError):  # complaint says what is wrong with it
        return (name,)
    return name, status.st_size, status.st_mtime_ns
