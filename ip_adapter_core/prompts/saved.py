"""Image prompts as files; a file works only with the adapter that made it."""

from __future__ import annotations

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
from ..adapters.variants import VARIANTS
from ..files.atomic import save_whole
from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import Entry, entries, metadata, tensors
from . import tensors as prompt_tensors
from .prompt import ImagePrompt, Origin, PromptPart, TimedNetwork

ENDING = ".safetensors"

_FORMAT, _VERSION = "IP-Adapter image prompt", "1"
_TIMED = {variant.name for variant in VARIANTS if variant.timed}
_NOTE_LENGTH = 200  # characters of a note that `describe` shows


@dataclass(frozen=True, eq=False)
class Maker:
    """The adapter that a prompt is loaded for.

    identity: what the adapter is.
    origin: its name and the digest of its weights.
    width: of its tokens.
    keys_values: tokens -> K' and V' of every layer.
    lora: of the adapter, None when it has none.
    timed: makes K' and V' at each noise level, in a kind where that decides.
    """

    identity: Identity
    origin: Origin
    width: int
    keys_values: Callable[[Tensor], tuple[KeysValues, ...]]
    lora: AdapterLora | None = None
    timed: TimedNetwork | None = None


class Label(NamedTuple):
    """What a file says about its prompt.

    origin: the adapter that made it.
    variant: name of the adapter's kind.
    family: name of the base models.
    each: tokens per image; None when every hidden state becomes a token.
    note: the user's.
    parts: for each part, its tensors by name.
    images: number of images; None in old files.
    """

    origin: Origin
    variant: str
    family: str
    each: int | None
    note: str
    parts: list[dict[str, Entry]]
    images: int | None = None

    @property
    def frames(self) -> int:
        """Number of frames with rows of their own."""
        return max(part["order"].shape[1] for part in self.parts)

    def describe(self) -> str:
        """One line for people, and the note."""
        line = f"{self.variant} for {self.family}, {self._size()}, made with {self.origin.name}"
        note = textwrap.shorten(self.note, _NOTE_LENGTH, placeholder=" …")
        return line + f"\n{note}" * bool(note)

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
    """Write a prompt without its K' and V', which its adapter makes again; the file is written whole or not at all.

    Raises ValueError when the prompt's adapter is unknown, and when a value is no number.
    """
    if prompt.origin is None:
        raise ValueError(
            "Make this image prompt with an adapter of Load IP-Adapter; it does not tell which "
            "adapter made it, so a file of it could never be used."
        )
    try:
        tensors = prompt_tensors.name_tensors(prompt.parts)
    except ValueError as error:
        raise ValueError(f"Make this image prompt again; it cannot be saved ({error}).") from error
    save_whole(tensors, path, _metadata(prompt, prompt.origin, note))


def label(path: Path) -> Label:
    """What a prompt file says about itself; every name and shape in its header is checked.

    Raises UnsupportedCheckpoint, naming the file, when it is damaged, of another version, or no prompt.
    """
    named, said = entries(path), metadata(path)
    if said.get("format") != _FORMAT:
        raise UnsupportedCheckpoint(
            f"Choose a file of Save Image Prompt; {path.name} is no image prompt (it holds "
            f"{', '.join(sorted(named)[:3]) or 'nothing'})."
        )
    if said.get("version") != _VERSION:
        raise UnsupportedCheckpoint(
            f"Update this package; {path.name} is an image prompt of format version "
            f"{said.get('version')}, and it reads version {_VERSION}."
        )
    try:
        origin, each = Origin(said["adapter"], said["digest"]), int(said.get("tokens", 0)) or None
        parts = prompt_tensors.check_tensors(named, said["variant"] in _TIMED)
        images = int(said.get("images", 0)) or None
        return Label(origin, said["variant"], said["family"], each, said.get("note", ""), parts, images)
    except (KeyError, ValueError) as error:
        raise _report_damage(path, error) from error


def load(path: Path, maker: Maker) -> ImagePrompt:
    """The saved prompt, bit for bit, with K' and V' that its adapter makes again.

    Raises UnsupportedCheckpoint as `label` does, and ValueError when another adapter made it.
    """
    origin = label(path).origin
    if origin.digest != maker.origin.digest:
        raise ValueError(
            f"Connect the adapter that {path.name} was made with, or encode the images again; that "
            f"was {_full_name(origin)}, and the connected adapter is {_full_name(maker.origin)}, to "
            "which its tokens mean something else."
        )
    named = dict(tensors(path))
    try:
        parts = prompt_tensors.restore(named, maker.width)
        if maker.identity.variant.timed:
            _check_emphasis(parts, maker.identity.tokens)
    except ValueError as error:
        raise _report_damage(path, error) from error
    variant = maker.identity.variant
    if variant.timed:
        return ImagePrompt(maker.identity, parts, maker.lora, origin=maker.origin, timed=maker.timed)
    remake = None if variant.linear else maker.keys_values
    prompt = ImagePrompt(maker.identity, parts, maker.lora, maker.keys_values, maker.origin, remake_keys_values=remake)
    if variant.needs_text_projection:
        return prompt
    return prompt.with_text_projection(lambda tokens: tokens)


def _check_emphasis(parts: Sequence[PromptPart], tokens: int | None) -> None:
    """Raises ValueError where the emphasis is not for the tokens that the adapter makes of each image."""
    for part in parts:
        each = tokens or part.tokens.shape[1] // part.images
        if part.attn_bias is not None and len(part.attn_bias) != part.images * each:
            raise ValueError(f"it emphasises {len(part.attn_bias)} tokens of {part.images * each}")


def _metadata(prompt: ImagePrompt, origin: Origin, note: str) -> dict[str, str]:
    """What a file says about its prompt beside the tensors; empty values are left out."""
    identity = prompt.identity
    values = {
        "format": _FORMAT,
        "version": _VERSION,
        "adapter": origin.name,
        "digest": origin.digest,
        "variant": identity.variant.name,
        "family": identity.family,
        "tokens": _tokens_of_an_image(prompt),
        "images": _images(prompt.parts),
        "encoder": identity.encoder,
        "note": note,
    }
    return {key: str(value) for key, value in values.items() if value}


def _tokens_of_an_image(prompt: ImagePrompt) -> int | None:
    if prompt.timed and prompt.parts:
        return prompt.parts[0].tokens.shape[1] // prompt.parts[0].images
    return prompt.identity.tokens


def _images(parts: Sequence[PromptPart]) -> int:
    """Number of images in a prompt; images that several parts read, as in transitions, count once."""
    distinct: list[PromptPart] = []
    for part in parts:
        if not any(torch.equal(part.tokens, other.tokens) for other in distinct):
            distinct.append(part)
    return sum(part.images * len(part.row_index[0].unique()) for part in distinct)


def _count(number: int | None, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _full_name(origin: Origin) -> str:
    """An adapter's name and the start of its digest, because several files may have one name."""
    return f"{origin.name} ({origin.digest[:8]})"


def _report_damage(path: Path, reason: Exception) -> UnsupportedCheckpoint:
    return UnsupportedCheckpoint(f"Save {path.name} again; it is a damaged image prompt ({reason}).")
