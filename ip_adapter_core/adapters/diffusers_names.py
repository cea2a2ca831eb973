"""Adapters that diffusers saved: the names of its processors and projections become those of published files.

Whoever trains with diffusers saves `unet.attn_processors` and `unet.encoder_hid_proj`, or the whole UNet with them.
Source of the names: diffusers, loaders/unet.py and models/embeddings.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import Entry, Shape

Sources = dict[str, tuple[str, ...]]
"""By a tensor's published name, the tensors of the file that are it, one after another along their first axis."""

_STAGES = ("down_blocks", "up_blocks", "mid_block")  # in the order in which diffusers lists, and files number, layers
_LAYER = re.compile(
    r"(?:unet\.)?(down_blocks|up_blocks|mid_block)\.(?:(\d{1,4})\.)?attentions\.(\d{1,4})\.transformer_blocks\."
    r"(\d{1,4})\.attn2\.processor\.(to_[kv]_ip)(?:\.(\d+))?\.weight"
)
_PROJECTION = re.compile(r"(?:unet\.)?encoder_hid_proj\.(?:image_projection_layers\.(\d+)\.)?(.+)")
_FROZEN = re.compile(
    r"(?:unet\.)?(?:conv_in|conv_out|conv_norm_out|time_embedding|add_embedding|down_blocks|up_blocks|mid_block)\."
    r"(?!.*\.processor\.).+"
)


class Naming(NamedTuple):
    """How diffusers names one of its image projections: a row of NAMINGS.

    sign: name of a tensor that this one alone has.
    names: pattern of a tensor's name, and its published name; those that no pattern fits are named alike.
    """

    sign: str
    names: tuple[tuple[str, str], ...]


_BLOCK = r"layers\.(\d+)\."
_RESAMPLER = (
    (_BLOCK + r"ln0\.", r"layers.\1.0.norm1."),
    (_BLOCK + r"ln1\.", r"layers.\1.0.norm2."),
    (_BLOCK + r"attn\.to_q\.", r"layers.\1.0.to_q."),
    (_BLOCK + r"attn\.to_[kv]\.", r"layers.\1.0.to_kv."),
    (_BLOCK + r"attn\.to_out\.0\.", r"layers.\1.0.to_out."),
    (_BLOCK + r"ff\.0\.", r"layers.\1.1.0."),
    (_BLOCK + r"ff\.1\.net\.0\.proj\.", r"layers.\1.1.1."),
    (_BLOCK + r"ff\.1\.net\.2\.", r"layers.\1.1.3."),
)
_FACE = ((r"(?:ff|proj)\.net\.0\.proj\.", "proj.0."), (r"(?:ff|proj)\.net\.2\.", "proj.2."))
_FULL_FACE = (*_FACE, (r"norm\.", "proj.3."))

NAMINGS = (
    Naming("image_embeds.weight", ((r"image_embeds\.", "proj."),)),
    Naming(
        "proj.net.0.proj.weight",
        (
            *_FACE,
            *((pattern, f"perceiver_resampler.{name}") for pattern, name in _RESAMPLER),
            (r"(proj_in|proj_out|norm_out)\.", r"perceiver_resampler.\1."),
        ),
    ),
    Naming("latents", _RESAMPLER),
    Naming("ff.net.0.proj.weight", _FACE),
)


def is_saved_by_diffusers(names: Iterable[str]) -> bool:
    """Whether a file with these names holds layers of an adapter as diffusers saves them."""
    return any(map(_LAYER.fullmatch, names))


def find_sources(named: Mapping[str, Entry]) -> Sources:
    """Where in a file that diffusers saved each tensor of an adapter is, by published names.

    Raises UnsupportedCheckpoint when diffusers saved several adapters in the file.
    """
    numbers = _number_layers(named)
    projection = _name_projection({_inner(name): entry.shape for name, entry in named.items() if _inner(name)})
    sources: Sources = {}
    for name in sorted(named):  # to_k comes before to_v
        published = _publish(name, numbers, projection)
        sources[published] = (*sources.get(published, ()), name)
    return sources


def _publish(name: str, numbers: Mapping[tuple[int, ...], int], projection: Mapping[str, str]) -> str:
    if layer := _LAYER.fullmatch(name):
        return f"ip_adapter.{numbers[_place(layer)]}.{layer[5]}.weight"
    if inner := _inner(name):
        return f"image_proj.{projection[inner]}"
    return f"unet.{name}" if _FROZEN.fullmatch(name) else name


def _number_layers(names: Iterable[str]) -> dict[tuple[int, ...], int]:
    """The number of each cross-attention: published files count self-attentions too, and the middle block last."""
    layers = [layer for layer in map(_LAYER.fullmatch, names) if layer]
    _check_alone(layer[6] for layer in layers)
    return {place: 2 * index + 1 for index, place in enumerate(sorted(set(map(_place, layers))))}


def _place(layer: re.Match[str]) -> tuple[int, ...]:
    """Stage, block, attention and depth of a layer, which sort in diffusers' order."""
    return (_STAGES.index(layer[1]), *(int(number or 0) for number in layer.group(2, 3, 4)))


def _inner(name: str) -> str:
    """The name of a tensor within the image projection; nothing for other tensors."""
    found = _PROJECTION.fullmatch(name)
    if found is None:
        return ""
    _check_alone([found[1]])
    return found[2]


def _name_projection(shapes: Mapping[str, Shape]) -> dict[str, str]:
    """The published names of an image projection's tensors."""
    naming = next((naming for naming in NAMINGS if naming.sign in shapes), Naming("", ()))
    names = _FULL_FACE if naming.names is _FACE and _makes_a_token_of_each_state(shapes) else naming.names
    return {name: _rename(name, names) for name in shapes}


def _makes_a_token_of_each_state(shapes: Mapping[str, Shape]) -> bool:
    """Full face, whose tensors diffusers calls what it calls those of FaceID."""
    return shapes.get("ff.net.2.weight", ())[:1] == shapes.get("norm.weight", (0,))[:1]


def _rename(name: str, names: tuple[tuple[str, str], ...]) -> str:
    for pattern, published in names:
        if found := re.match(pattern, name):
            return found.expand(published) + name[found.end() :]
    return name


def _check_alone(indices: Iterable[str | None]) -> None:
    if not set(indices) <= {None, "0"}:
        raise UnsupportedCheckpoint("Save one adapter in a file; diffusers saved several together in this one.")
