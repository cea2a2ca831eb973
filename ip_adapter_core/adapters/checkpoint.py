"""Any published IP-Adapter file -> its two state dicts, or UnsupportedCheckpoint."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from ..files.errors import UnsupportedCheckpoint
from .namings import find_naming

T = TypeVar("T")
U = TypeVar("U")

# Containers differ only in these prefixes (split once: inner keys contain dots).
PROJECTION_PREFIXES = ("image_proj.", "image_proj_model.")
LAYER_PREFIXES = ("ip_adapter.", "adapter_modules.")
_IGNORED_PREFIXES = ("unet.",)  # raw training checkpoints carry the frozen base along
_KNOWN_PREFIXES = PROJECTION_PREFIXES + LAYER_PREFIXES + _IGNORED_PREFIXES
_LAYER_KEY = re.compile(r"(0|[1-9]\d{0,8})\.(.+)")
_READS_STATES = "adaln_ip.1.weight"  # of layers that read what an encoder says without a projection
_LORA_KEY = re.compile(r"to_(q|k|v|out)_lora\.(down|up)\.weight")


class Parts(NamedTuple, Generic[T]):
    """The parts of an adapter file, whatever its container; T is a shape, an entry or a tensor.

    projection: tensors of the image projection, by name.
    layers: by number of the cross-attention, its tensors by name.
    lora: by number of the attention, self-attentions included, the tensors that change the model's own weights.
    """

    projection: dict[str, T]
    layers: dict[int, dict[str, T]]
    lora: dict[int, dict[str, T]]

    def map(self, change: Callable[[T], U]) -> Parts[U]:
        """The same parts with every value changed."""
        layers, lora = (
            {number: {key: change(value) for key, value in inner.items()} for number, inner in part.items()}
            for part in (self.layers, self.lora)
        )
        return Parts({key: change(value) for key, value in self.projection.items()}, layers, lora)

    def without(self, names: Collection[str]) -> Parts[T]:
        """The same parts without the projection's and the layers' tensors of these published names."""
        layers = {
            number: {key: value for key, value in inner.items() if f"ip_adapter.{number}.{key}" not in names}
            for number, inner in self.layers.items()
        }
        projection = {key: value for key, value in self.projection.items() if f"image_proj.{key}" not in names}
        return Parts(projection, layers, self.lora)

    def flat(self) -> dict[str, T]:
        """One dictionary under the published names: `image_proj.…`, `ip_adapter.<number>.…`."""
        named = {f"image_proj.{key}": value for key, value in self.projection.items()}
        for part in (self.layers, self.lora):
            named |= {f"ip_adapter.{n}.{key}": value for n, inner in part.items() for key, value in inner.items()}
        return named


def split(named: Mapping[str, T]) -> Parts[T]:
    """Sort a file's dotted names into projection and numbered layers.

    Raises UnsupportedCheckpoint when names of either half are missing or a name belongs to neither.
    """
    foreign = [name for name in named if not name.startswith(_KNOWN_PREFIXES)]
    if foreign:
        raise UnsupportedCheckpoint(f"Choose an IP-Adapter file; this one holds {what_else(foreign)}.")
    projection = _half(named, PROJECTION_PREFIXES)
    layers: dict[int, dict[str, T]] = {}
    lora: dict[int, dict[str, T]] = {}
    for inner, value in _half(named, LAYER_PREFIXES).items():
        number, key = _split_number(inner)
        (lora if _LORA_KEY.fullmatch(key) else layers).setdefault(number, {})[key] = value
    projected = projection or any(_READS_STATES in inner for inner in layers.values())
    if not projected or not layers:
        absent = "image projection" if not projected else "cross-attention layers (to_k_ip, to_v_ip)"
        raise UnsupportedCheckpoint(f"Choose an IP-Adapter file; this one has no {absent}.")
    return Parts(projection, dict(sorted(layers.items())), dict(sorted(lora.items())))


def _half(named: Mapping[str, T], prefixes: Sequence[str]) -> dict[str, T]:
    """The tensors under one of the prefixes; some files (NoobAI's) have the same under two, and one is enough."""
    half: dict[str, T] = {}
    for prefix in prefixes:
        inner = {name[len(prefix) :]: value for name, value in named.items() if name.startswith(prefix)}
        different = sorted(inner.keys() ^ half.keys())
        if inner and half and different:
            raise UnsupportedCheckpoint(
                f"Use the original file; this one holds two adapters, under {prefixes[0]} and {prefix}, "
                f"and they differ ({different[0]})."
            )
        half = half or inner
    return half


def _split_number(inner: str) -> tuple[int, str]:
    match = _LAYER_KEY.fullmatch(inner)
    if match is None:
        raise UnsupportedCheckpoint(
            "Use the original IP-Adapter file (1.to_k_ip, 3.to_k_ip, …); the layers of this one are "
            f"numbered in another way ({inner})."
        )
    return int(match[1]), match[2]


# Files that people put into the folder by mistake, the clearest sign first: pattern of a tensor name -> what it is.
_OTHER_FILES = tuple(
    (re.compile(pattern), what)
    for pattern, what in (
        (r"model\.diffusion_model\.", "a Stable Diffusion checkpoint"),
        (r"(?:double|single)_blocks\..*_lora\d?\.", "a LoRA for Flux"),
        (r"double_blocks\.", "a Flux model or adapter"),
        (r"control_model\.|controlnet_|zero_convs\.|input_hint_block\.", "a ControlNet"),
        (r"lora_|.*[._]lora[._](up|down|A|B)\.", "a LoRA"),
        (r"diffusion_model\.|input_blocks\.|down_blocks\.", "a diffusion model"),
        (r"vision_model\.|visual", "a CLIP vision encoder"),
        (r"text_model\.", "a text encoder"),
        (r"first_stage_model\.|taesd_|decoder\.", "an autoencoder (VAE)"),
        (r"heads\.(texture|expression)\.", "the judge of the small world's pictures"),
        (r"(norm|proj)\.(weight|bias)$", "an image projection without cross-attention layers"),
    )
)


def is_adapter(names: Collection[str]) -> bool:
    """Whether a file with these names is meant to be an adapter, complete or not."""
    return any(name.startswith(PROJECTION_PREFIXES + LAYER_PREFIXES) for name in names) or bool(find_naming(names))


def naming(names: Collection[str]) -> str | None:
    """How the names of an adapter differ from those of published files, in words; None where they do not."""
    if other := find_naming(names):
        return other.words
    used = {prefix for name in names for prefix in _KNOWN_PREFIXES if name.startswith(prefix)}
    for prefixes in (LAYER_PREFIXES, PROJECTION_PREFIXES):
        if used.issuperset(prefixes):
            return f"the same tensors under {' and '.join(prefixes)}"
    if used & {"image_proj_model.", *_IGNORED_PREFIXES}:
        return "a raw training checkpoint"
    return "its layers under adapter_modules." if "adapter_modules." in used else None


def what_else(names: Sequence[str]) -> str:
    """What a file with these tensor names is if it is no adapter, in words."""
    for sign, what in _OTHER_FILES:
        name = next((name for name in names if sign.match(name)), None)
        if name:
            return f"{what} ({name})"
    return f"the unknown tensor {names[0]}" if names else "no tensor"
