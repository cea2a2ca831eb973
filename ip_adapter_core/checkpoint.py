"""Any published IP-Adapter file -> its two state dicts, or UnsupportedCheckpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from .weightfile import UnsupportedCheckpoint

T = TypeVar("T")
U = TypeVar("U")

# Containers differ only in these prefixes (split once: inner keys contain dots).
_PROJECTION_PREFIXES = ("image_proj.", "image_proj_model.")
_LAYER_PREFIXES = ("ip_adapter.", "adapter_modules.")
_IGNORED_PREFIXES = ("unet.",)  # raw training checkpoints carry the frozen base along
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
    projection: dict[str, T] = {}
    layers: dict[int, dict[str, T]] = {}
    for name, value in named.items():
        if inner := _after(name, _PROJECTION_PREFIXES):
            projection[inner] = value
        elif inner := _after(name, _LAYER_PREFIXES):
            number, key = _numbered(inner, name)
            layers.setdefault(number, {})[key] = value
        elif not name.startswith(_IGNORED_PREFIXES):
            raise UnsupportedCheckpoint(f"This is no IP-Adapter file: it holds {_what_else(name)}.")
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


# Signs of the files people drop into the folder by mistake: first key prefix that occurs -> what the file is.
_OTHER_FILES = (
    ("model.diffusion_model.", "a Stable Diffusion checkpoint"),
    ("double_blocks.", "a Flux adapter of XLabs"),
    ("ip_adapter_proj_model.", "a Flux adapter of XLabs"),
    ("control_model.", "a ControlNet"),
    ("controlnet_", "a ControlNet"),
    ("vision_model.", "a CLIP vision encoder"),
    ("visual", "a CLIP vision encoder"),
    ("text_model.", "a text encoder"),
    ("lora_", "a LoRA"),
)


def _what_else(name: str) -> str:
    found = next((what for prefix, what in _OTHER_FILES if name.startswith(prefix)), None)
    return f"{found} ({name})" if found else f"the unknown tensor {name}"
