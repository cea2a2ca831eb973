"""Any published IP-Adapter file -> its two state dicts, or UnsupportedCheckpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from .weightfile import UnsupportedCheckpoint

T = TypeVar("T")
U = TypeVar("U")

# Containers differ only in these prefixes (split once: inner keys contain dots).
_PROJECTION_PREFIXES = ("image_proj.", "image_proj_model.")
_LAYER_PREFIXES = ("ip_adapter.", "adapter_modules.")
_IGNORED_PREFIXES = ("unet.",)  # raw training checkpoints carry the frozen base along
_KNOWN_PREFIXES = _PROJECTION_PREFIXES + _LAYER_PREFIXES + _IGNORED_PREFIXES
_LAYER_KEY = re.compile(r"(0|[1-9]\d*)\.(.+)")


class Parts(NamedTuple, Generic[T]):
    """The two halves of an adapter file, whatever its container; T is a shape, an entry or a tensor."""

    projection: dict[str, T]
    layers: dict[int, dict[str, T]]

    def map(self, change: Callable[[T], U]) -> Parts[U]:
        """The same parts with every value changed."""
        return Parts(
            {key: change(value) for key, value in self.projection.items()},
            {number: {key: change(value) for key, value in inner.items()} for number, inner in self.layers.items()},
        )

    def flat(self) -> dict[str, T]:
        """One dictionary under the published names: `image_proj.…`, `ip_adapter.<number>.…`."""
        layers = {f"ip_adapter.{n}.{key}": value for n, inner in self.layers.items() for key, value in inner.items()}
        return {f"image_proj.{key}": value for key, value in self.projection.items()} | layers


def split(named: Mapping[str, T]) -> Parts[T]:
    """Sort a file's dotted names into projection and numbered layers.

    Raises UnsupportedCheckpoint when names of either half are missing or a name belongs to neither.
    """
    foreign = [name for name in named if not name.startswith(_KNOWN_PREFIXES)]
    if foreign:
        raise UnsupportedCheckpoint(f"This is no IP-Adapter file: it holds {_what_else(foreign)}.")
    projection: dict[str, T] = {}
    layers: dict[int, dict[str, T]] = {}
    for name, value in named.items():
        if inner := _after(name, _PROJECTION_PREFIXES):
            projection[inner] = value
        elif inner := _after(name, _LAYER_PREFIXES):
            number, key = _numbered(inner, name)
            layers.setdefault(number, {})[key] = value
    if not projection or not layers:
        absent = "image projection" if not projection else "cross-attention layers (to_k_ip, to_v_ip)"
        raise UnsupportedCheckpoint(f"This is no IP-Adapter file: it has no {absent}.")
    return Parts(projection, dict(sorted(layers.items())))


def _after(name: str, prefixes: tuple[str, ...]) -> str | None:
    return next((name[len(prefix) :] for prefix in prefixes if name.startswith(prefix)), None)


def _numbered(inner: str, name: str) -> tuple[int, str]:
    match = _LAYER_KEY.fullmatch(inner)
    if match is None:
        raise UnsupportedCheckpoint(
            f"The layers of this adapter are numbered in another way ({name}); "
            "use the original IP-Adapter file (1.to_k_ip, 3.to_k_ip, …)."
        )
    return int(match[1]), match[2]


# Signs of the files people drop into the folder by mistake, the most telling first: key prefix -> what the file is.
_OTHER_FILES = (
    ("model.diffusion_model.", "a Stable Diffusion checkpoint"),
    ("ip_adapter_proj_model.", "a Flux adapter of XLabs"),
    ("double_blocks.", "a Flux model or adapter"),
    ("control_model.", "a ControlNet"),
    ("controlnet_", "a ControlNet"),
    ("lora_", "a LoRA"),
    ("diffusion_model.", "a diffusion model or a LoRA"),
    ("vision_model.", "a CLIP vision encoder"),
    ("visual", "a CLIP vision encoder"),
    ("text_model.", "a text encoder"),
    ("first_stage_model.", "an autoencoder (VAE)"),
    ("taesd_", "an autoencoder (VAE)"),
    ("decoder.", "an autoencoder (VAE)"),
)


def _what_else(names: Sequence[str]) -> str:
    """What a file with these names is, as far as they tell."""
    for prefix, what in _OTHER_FILES:
        telling = next((name for name in names if name.startswith(prefix)), None)
        if telling:
            return f"{what} ({telling})"
    return f"the unknown tensor {names[0]}"
