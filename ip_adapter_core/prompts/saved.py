"""Image prompts as files, bound to the adapter that made them."""

from __future__ import annotations

import json
import struct
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..adapters.identity import Identity
from ..adapters.keys_values import KeysValues
from ..adapters.lora import AdapterLora
from ..files.atomic import save_whole
from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import Entry, entries, tensors
from . import tensors as prompt_tensors
from .prompt import ImagePrompt, Origin, PromptPart

ENDING = ".safetensors"

_FORMAT, _VERSION = "IP-Adapter image prompt", "1"
_SHOWN = 200  # characters of a note


@dataclass(frozen=True, eq=False)
class Maker:
    """The adapter that a prompt is loaded for: width of its tokens, what makes keys and values of them, and the LoRA it
    brings."""

    identity: Identity
    origin: Origin
    width: int
    keys_values: Callable[[Tensor], tuple[KeysValues, ...]]
    lora: AdapterLora | None = None


class Label(NamedTuple):
    """What a file says of its prompt: adapter, kind, base model, tokens per image (None where every hidden state
    becomes one), the user's note, the tensors of each part by name, and its images (None in old files)."""

    origin: Origin
    variant: str
    family: str
    each: int | None
    note: str
    parts: list[dict[str, Entry]]
    images: int | None = None

    @property
    def frames(self) -> int:
        """For how many frames it says something."""
        return max(part["order"].shape[1] for part in self.parts)

    def describe(self) -> str:
        """One line for people, and the note."""
        said = f"{self.variant} for {self.family}, {self._size()}, made with {self.origin.name}"
        note = textwrap.shorten(self.note, _SHOWN, placeholder=" …")
        return said + f"\n{note}" * bool(note)

    def _size(self) -> str:
        tokens = sum(part["tokens"].shape[1] for part in self.parts)
        length = _count(tokens // self.each, "image") if self.each else _count(tokens, "token")
        frames = _count(self.frames, "frame")
        if self.frames == 1:
            return length
        if self.images is None:
            return frames
        return _count(self.images, "image") + f" over {frames}" * (self.frames != self.images)


def save(prompt: ImagePrompt, path: Path, note: str = "") -> None:
    """Write a prompt without its keys and values, which its adapter makes again; the file is there whole or not at all.

    Raises ValueError when nothing tells the prompt's adapter, or when it holds values that are no numbers.
    """
    if prompt.origin is None:
        raise ValueError(
            "This image prompt does not tell which adapter made it, so a file of it could never be used. "
            "Make it with an adapter of Load IP-Adapter."
        )
    try:
        held = prompt_tensors.named(prompt.parts)
    except ValueError as error:
        raise ValueError(f"This image prompt cannot be saved ({error}); make it again.") from error
    save_whole(held, path, _said(prompt.identity, prompt.origin, _images(prompt.parts), note))


def label(path: Path) -> Label:
    """What a prompt file says of itself, every name and shape in its header checked.

    Raises UnsupportedCheckpoint, naming the file, when it is damaged, of another version, or no prompt.
    """
    found, said = entries(path), _metadata(path)
    if said.get("format") != _FORMAT:
        raise UnsupportedCheckpoint(
            f"{path.name} is no image prompt (it holds {', '.join(sorted(found)[:3]) or 'nothing'}); "
            "choose a file of Save Image Prompt."
        )
    if said.get("version") != _VERSION:
        raise UnsupportedCheckpoint(
            f"{path.name} is an image prompt of format version {said.get('version')}; this package reads version "
            f"{_VERSION}. Update the package."
        )
    try:
        origin, each = Origin(said["adapter"], said["digest"]), int(said.get("tokens", 0)) or None
        parts = prompt_tensors.checked(found)
        images = int(said.get("images", 0)) or None
        return Label(origin, said["variant"], said["family"], each, said.get("note", ""), parts, images)
    except (KeyError, ValueError) as error:
        raise _damaged(path, error) from error


def load(path: Path, maker: Maker) -> ImagePrompt:
    """The prompt that was saved, bit for bit, with keys and values that its adapter makes again.

    Raises UnsupportedCheckpoint as `label` does, and ValueError when another adapter made it.
    """
    origin = label(path).origin
    if origin.digest != maker.origin.digest:
        raise ValueError(
            f"{path.name} was made with {_named(origin)}; the connected adapter is {_named(maker.origin)}, to which "
            "its tokens mean something else. Connect the adapter it was made with, or encode the images again."
        )
    found = dict(tensors(path))
    try:
        parts = prompt_tensors.restore(found, maker.width)
    except ValueError as error:
        raise _damaged(path, error) from error
    prompt = ImagePrompt(maker.identity, parts, maker.lora, maker.keys_values, maker.origin)
    return (
        prompt if maker.identity.variant.needs_text_projection else prompt.with_text_projection(lambda tokens: tokens)
    )


def _said(identity: Identity, origin: Origin, images: int, note: str) -> dict[str, str]:
    """What a file says of its prompt beside the tensors; what there is none of is left out."""
    told = {
        "format": _FORMAT,
        "version": _VERSION,
        "adapter": origin.name,
        "digest": origin.digest,
        "variant": identity.variant.name,
        "family": identity.family,
        "tokens": identity.tokens,
        "images": images,
        "encoder": identity.encoder,
        "note": note,
    }
    return {key: str(value) for key, value in told.items() if value}


def _images(parts: Sequence[PromptPart]) -> int:
    """How many images a prompt is of; those that several parts read, as in transitions, count once."""
    found: list[PromptPart] = []
    for part in parts:
        if not any(torch.equal(part.tokens, other.tokens) for other in found):
            found.append(part)
    return sum(part.images * len(part.row_index[0].unique()) for part in found)


def _count(number: int | None, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _metadata(path: Path) -> dict[str, str]:
    """Of a file whose header `entries` has read."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            return dict(json.loads(file.read(length)).get("__metadata__") or {})
    except (OSError, ValueError, TypeError, struct.error) as error:
        raise _damaged(path, error) from error


def _named(origin: Origin) -> str:
    """An adapter by name and, as files may share that, the start of its digest."""
    return f"{origin.name} ({origin.digest[:8]})"


def _damaged(path: Path, reason: Exception) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(f"{path.name} is a damaged image prompt ({reason}); save it again.")
