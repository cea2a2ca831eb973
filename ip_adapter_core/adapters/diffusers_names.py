"""Adapters that diffusers saved: the names of its processors and projections become those of published files.

Whoever trains with diffusers saves `unet.attn_processors` and `unet.encoder_hid_proj`, or the whole UNet with them; of
Flux and SD3.5 those of the transformer, whose projection is its `image_proj` in SD3.5.
Source of the names: diffusers, loaders/unet.py, transformer_flux.py and transformer_sd3.py, and models/embeddings.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from ..files.errors import UnsupportedCheckpoint
from ..files.tensor_file import Entry, Shape

Sources = dict[str, tuple[str, ...]]
"""By a tensor's published name, the tensors of the file that are it, one after another along their first axis."""

Place = tuple[int, ...]
"""Where a layer is: numbers that sort in diffusers' order."""


class Base(NamedTuple):
    """A base model of diffusers: a row of BASES.

    layer: pattern of the name of a layer's tensor, with the groups by which `place` knows the layer, `inner`, the name
        within it, and `adapter`, a number in that which published files do not have.
    place: where the layer of such a name is.
    number: places -> the number of each in published files.
    frozen: pattern of the names of the model's own tensors.
    """

    layer: re.Pattern[str]
    place: Callable[[re.Match[str]], Place]
    number: Callable[[Iterable[Place]], dict[Place, int]]
    frozen: re.Pattern[str]


_STAGES = ("down_blocks", "up_blocks", "mid_block")  # in the order in which diffusers lists, and files number, layers
_KEY_OR_VALUE = r"to_[kv]_ip(?:\.(?P<adapter>\d+))?\."
_OWN = r"(?!.*\.processor\.).+"


def _place_in_unet(layer: re.Match[str]) -> Place:
    """Stage, block, attention and depth."""
    return (_STAGES.index(layer["stage"]), *(int(layer[part] or 0) for part in ("block", "attention", "depth")))


def _number_in_unet(places: Iterable[Place]) -> dict[Place, int]:
    """Published files count self-attentions too, and the middle block last."""
    return {place: 2 * index + 1 for index, place in enumerate(sorted(set(places)))}


def _place_in_transformer(layer: re.Match[str]) -> Place:
    """Whether it is a single block, and its number among those of its kind."""
    return (int(layer["single"] is not None), int(layer["block"]))


def _number_in_transformer(places: Iterable[Place]) -> dict[Place, int]:
    """All blocks are counted, so that a missing one leaves a gap; single ones come behind the others."""
    found = set(places)
    first_single = 1 + max((block for single, block in found if not single), default=-1)
    return {(single, block): 2 * (first_single * single + block) + 1 for single, block in found}


BASES = (
    Base(
        re.compile(
            r"(?:unet\.)?(?P<stage>down_blocks|up_blocks|mid_block)\.(?:(?P<block>\d{1,4})\.)?"
            r"attentions\.(?P<attention>\d{1,4})\.transformer_blocks\.(?P<depth>\d{1,4})\.attn2\.processor\."
            rf"(?P<inner>{_KEY_OR_VALUE}weight)"
        ),
        _place_in_unet,
        _number_in_unet,
        re.compile(
            r"(?:unet\.)?(?:conv_in|conv_out|conv_norm_out|time_embedding|add_embedding|text_encoder_hid_proj|"
            r"down_blocks|up_blocks|mid_block)\." + _OWN
        ),
    ),
    Base(
        re.compile(
            r"(?:transformer\.)?(?P<single>single_)?transformer_blocks\.(?P<block>\d{1,4})\.attn\.processor\."
            rf"(?P<inner>{_KEY_OR_VALUE}(?:weight|bias)|norm_.+)"
        ),
        _place_in_transformer,
        _number_in_transformer,
        re.compile(
            r"(?:transformer\.)?(?:x_embedder|context_embedder|pos_embed|time_text_embed|norm_out|proj_out|"
            r"(?:single_)?transformer_blocks)\." + _OWN
        ),
    ),
)
_PROJECTION = re.compile(
    r"(?:(?:unet|transformer)\.)?(?:encoder_hid_proj\.(?:image_projection_layers\.(\d+)\.)?|image_proj\.)(.+)"
)


class Naming(NamedTuple):
    """How diffusers names one of its image projections: a row of NAMINGS.

    sign: name of a tensor that this one alone has.
    names: pattern of a tensor's name, and its published name; those that no pattern fits are named alike.
    """

    sign: str
    names: tuple[tuple[str, str], ...]


_BLOCK = r"layers\.(\d+)\."
_ATTENTION = (
    (_BLOCK + r"ln0\.", r"layers.\1.0.norm1."),
    (_BLOCK + r"ln1\.", r"layers.\1.0.norm2."),
    (_BLOCK + r"attn\.to_q\.", r"layers.\1.0.to_q."),
    (_BLOCK + r"attn\.to_(?:kv|[kv])\.", r"layers.\1.0.to_kv."),
    (_BLOCK + r"attn\.to_out\.0\.", r"layers.\1.0.to_out."),
)
_TIMED_RESAMPLER = (
    *_ATTENTION,
    (_BLOCK + r"adaln_norm\.", r"layers.\1.1.0."),
    (_BLOCK + r"ff\.net\.0\.proj\.", r"layers.\1.1.1."),
    (_BLOCK + r"ff\.net\.2\.", r"layers.\1.1.3."),
    (_BLOCK + r"adaln_proj\.", r"layers.\1.2.1."),
)
_RESAMPLER = (
    *_ATTENTION,
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
    Naming("time_embedding.linear_1.weight", _TIMED_RESAMPLER),
    Naming("latents", _RESAMPLER),
    Naming("ff.net.0.proj.weight", _FACE),
)


def is_saved_by_diffusers(names: Iterable[str]) -> bool:
    """Whether a file with these names holds layers of an adapter as diffusers saves them."""
    return _find_base(names) is not None


def _find_base(names: Iterable[str]) -> Base | None:
    listed = list(names)
    return next((base for base in BASES if any(map(base.layer.fullmatch, listed))), None)


def find_sources(named: Mapping[str, Entry]) -> Sources:
    """Where in a file that diffusers saved each tensor of an adapter is, by published names.

    Raises UnsupportedCheckpoint when diffusers saved several adapters in the file.
    """
    base = _find_base(named)
    if base is None:
        return {name: (name,) for name in named}
    layers = _publish_layers(named, base)
    projection = _name_projection({_inner(name): entry.shape for name, entry in named.items() if _inner(name)})
    sources: Sources = {}
    for name in sorted(named):  # to_k comes before to_v
        published = layers.get(name) or _publish(name, base, projection)
        sources[published] = (*sources.get(published, ()), name)
    return sources


def _publish_layers(names: Iterable[str], base: Base) -> dict[str, str]:
    """The published names of the tensors of layers."""
    layers = {name: found for name in names if (found := base.layer.fullmatch(name))}
    _check_alone(found["adapter"] for found in layers.values())
    numbers = base.number(map(base.place, layers.values()))
    return {name: f"ip_adapter.{numbers[base.place(found)]}.{_within(found)}" for name, found in layers.items()}


def _within(layer: re.Match[str]) -> str:
    """The name of a tensor within its layer."""
    return layer["inner"].replace(f".{layer['adapter']}.", ".")


def _publish(name: str, base: Base, projection: Mapping[str, str]) -> str:
    if inner := _inner(name):
        return f"image_proj.{projection[inner]}"
    return f"unet.{name}" if base.frozen.fullmatch(name) else name


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
