"""Files that hold a part of an adapter: of which kind it is and what it lacks, where names tell no other kind."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ..files.errors import UnsupportedCheckpoint
from ..files.foreign import Sign
from ..files.tensor_file import Entry, Shape
from ..layers.families import GEOMETRIES, describe
from ..layers.layout import Geometry
from .checkpoint import LAYER_PREFIXES, PROJECTION_PREFIXES
from .diffusers_names import Sources

_PROJECTION, _LAYER = r"image_proj(?:_model)?\.", r"(?:ip_adapter|adapter_modules)\.\d+\."
_KNOWN = [geometry for published in GEOMETRIES.values() for geometry in published]
_OF_LAYER = re.compile(r"(\d{1,9})\.")
_KEY = re.compile(r"\d{1,9}\.to_k_ip\.weight")
_OF_PULID = r"(?:image_proj(?:_model)?|id_adapter)\."


class Whole(NamedTuple):
    """What a file of a kind has: a row of WHOLE.

    kind: what it is called.
    signs: tensors by which it is told, as files name them; one is enough, and no other kind has it. First the names
        that its authors gave, where they are its own.
    parts: names of tensors of its projection, or how they begin, as most published files have them. A whole file has
        each of them, and nothing else; empty where it has no projection.
    gate: the name of a tensor that each of its layers has, where older files of the kind have none at all.
    layer: names of the tensors that each layer of a file with its authors' names has, where none would be missed.
    layers: how many there are, where as many as fit another kind would not be missed.
    """

    kind: str
    signs: tuple[Sign, ...]
    parts: tuple[str, ...]
    gate: str = ""
    layer: tuple[str, ...] = ()
    layers: int = 0

    def lacks(self, projection: Collection[str]) -> str | None:
        """The first of its parts that a projection lacks; None where it has names of another kind."""
        if not all(name.startswith(self.parts) for name in projection):
            return None
        return next((part for part in self.parts if not any(name.startswith(part) for name in projection)), None)


def _each(*names: str) -> tuple[str, ...]:
    """The parts that there are for each level of a picture."""
    return tuple(f"{name}_{level}." for name in names for level in range(5))


_RESAMPLER = ("latents", "proj_in.", "layers.", "proj_out.", "norm_out.")

_BIASED = tuple(f"to_{part}_ip.{which}" for part in "kv" for which in ("weight", "bias"))

OF_EITHER_PULID = "PuLID v1 or PuLID v1.1, as the layers of both are alike"

WHOLE = (
    Whole(
        "PuLID v1.1",
        (
            Sign(_OF_PULID + r"(?:id_embedding_mapping\..+|proj_out)"),
            Sign(r"id_adapter\.(?:latents|layers\..+)"),
        ),
        ("latents", "layers.", "proj_out", "id_embedding_mapping.0.weight", "id_embedding_mapping.", *_each("mapping")),
    ),
    Whole(
        "PuLID v1",
        (Sign(_OF_PULID + r"(?:body|mapping_patch_\d+)\..+"),),
        ("body.0.weight", "body.", *_each("mapping", "mapping_patch")),
    ),
    Whole(OF_EITHER_PULID, (Sign(r"id_adapter(?:_attn_layers)?\..+"),), ("body.0.weight", *_each("mapping"))),
    Whole(
        "Anima PE-Core",
        (
            Sign(_PROJECTION + r"(?:ip_centroid|queries|kv_proj\..+)"),
            Sign(r"ip_centroid|ip_gate\.\d+|to_[kv]_ip\.\d+\.weight|resampler\.(?:queries|kv_proj\..+)"),
            Sign(_LAYER + "ip_gate"),
        ),
        ("ip_centroid", "queries", "kv_proj.weight", "kv_proj.", "blocks.", "out_norm.", "out."),
        "ip_gate",
    ),
    Whole(
        "Anima SigLIP2",
        (Sign(r"blocks\.\d+\.(?:ip_[kv]_proj|adaln_ip\.1)\..+"), Sign(_LAYER + r"adaln_ip\.1\..+")),
        (),
        layer=(*_BIASED, "adaln_ip.1.weight", "adaln_ip.1.bias"),
    ),
    Whole(
        "InstantX SD3.5",
        (
            Sign(_PROJECTION + r"(?:time_embedding|layers\.\d+\.2)\..+"),
            Sign(_LAYER + r"norm_(?:ip\.linear|ip_k|q|k)\..+"),
        ),
        (*_RESAMPLER, "time_embedding.linear_1.weight", "time_embedding.linear_1.", "time_embedding.linear_2."),
    ),
    Whole(
        "Instruct",
        (Sign(_PROJECTION + r"(?:proj_new_input|proj_prompt_input|prompt_layers|new_input_layers)\..+"),),
        (
            *_RESAMPLER,
            *("proj_new_input.weight", "proj_new_input.", "proj_prompt_input.", "prompt_layers.", "new_input_layers."),
        ),
    ),
    Whole(
        "XLabs",
        (
            Sign(r"ip_adapter_proj_model\..+|double_blocks\.\d+\.processor\.ip_adapter_.+"),
            Sign(_LAYER + r"to_[kv]_ip\.bias"),
        ),
        ("proj.weight", "proj.bias", "norm.weight", "norm.bias"),
        layer=_BIASED,
    ),
    Whole(
        "InstantX Flux",
        (
            Sign(_PROJECTION + r"proj\.0\.weight", (None, 1152)),
            Sign(_PROJECTION + r"proj\.2\.weight", (None, 2304)),
            Sign(_LAYER + r"to_[kv]_ip\.weight", (3072, 4096)),
        ),
        ("proj.0.weight", "proj.0.", "proj.2.", "norm."),
        layers=57,
    ),
)
"""The first row of which a file has a sign is the answer. Kinds that are not here have no names of their own."""


def incomplete(kind: str, found: str) -> UnsupportedCheckpoint:
    """The error of a file of a kind in which something is missing or wrong."""
    return UnsupportedCheckpoint(f"Download this adapter file again; it is of kind {kind}, and {found}.")


def check_whole(named: Mapping[str, Entry], sources: Sources) -> None:
    """Raises UnsupportedCheckpoint where a file is told to be of a kind and lacks a part of it.

    sources: where in the file each tensor is, by the name that it has in most files.
    """
    found = next((row for row in WHOLE if any(sign.find(named) for sign in row.signs)), None)
    projection, layers = (_under(prefixes, sources) for prefixes in (PROJECTION_PREFIXES, LAYER_PREFIXES))
    shapes = {name: named[sources[full][0]].shape for full in sources for name in _under(LAYER_PREFIXES, (full,))}
    if found is None:
        return None if projection else _check_layers_alone(shapes)
    if not layers:
        raise incomplete(found.kind, "has no cross-attention layers (to_k_ip, to_v_ip)")
    if not projection and found.parts:
        raise incomplete(found.kind, "has no image projection")
    if lacking := found.lacks(projection):
        raise incomplete(found.kind, f"lacks image_proj.{lacking.removesuffix('.')}")
    if found.gate and not any(name.endswith(f".{found.gate}") for name in layers):
        raise _without_gates(found, shapes)
    numbers = sorted({int(layer[1]) for layer in map(_OF_LAYER.match, layers) if layer})
    each = found.layer if found.layer and found.signs[0].find(named) else ()
    needed = (f"{n}.{name}" for n in numbers for name in each)
    if lacking := next((name for name in needed if name not in layers), None):
        raise incomplete(found.kind, f"lacks ip_adapter.{lacking}")
    if len(numbers) < found.layers and _geometry(shapes) in _KNOWN:
        raise incomplete(found.kind, f"has {len(numbers)} of {found.layers} layers")
    return None


def _check_layers_alone(shapes: Mapping[str, Shape]) -> None:
    if geometry := _geometry(shapes):
        raise UnsupportedCheckpoint(
            f"Download this adapter file again; it has the layers of an adapter for {describe(geometry)} and no image "
            "projection, which would tell its kind (base, plus, Instruct and so on)."
        )


def _without_gates(row: Whole, shapes: Mapping[str, Shape]) -> UnsupportedCheckpoint:
    """The error of a file that has no gate in any layer: of an old one only where nothing else is missing."""
    numbers = [int(name.split(".")[0]) for name in shapes]
    needed = (f"{n}.to_{kv}_ip.weight" for n in range(1, max(numbers) + 1, 2) for kv in "kv")
    if lacking := next((name for name in needed if name not in shapes), None):
        return incomplete(row.kind, f"lacks ip_adapter.{lacking} and every gate ({row.gate})")
    geometry = _geometry(shapes)
    if geometry and (whole := _whole_of(geometry)):
        count = len(geometry.widths)
        return incomplete(row.kind, f"has the first {count} of {len(whole.widths)} layers, and no gate ({row.gate})")
    return UnsupportedCheckpoint(
        f"Choose an Anima adapter that has gates ({row.gate}.0 and so on), as anima_lora trains them since May 2026; "
        "this one lacks them all: it is older, or they were lost, and its tensors do not tell how its keys are to be "
        "read."
    )


def _geometry(shapes: Mapping[str, Shape]) -> Geometry | None:
    """The sizes of layers, by number; None where they have no keys, or keys of no shape."""
    keys = {int(name.split(".")[0]): shape for name, shape in shapes.items() if _KEY.fullmatch(name)}
    if not keys or any(len(shape) != 2 for shape in keys.values()):
        return None
    return Geometry(keys[min(keys)][1], tuple(keys[number][0] for number in sorted(keys)))


def check_last_layers(kind: str, geometry: Geometry) -> None:
    """Raises UnsupportedCheckpoint where layers are those of a published family and end before its last one."""
    if whole := _whole_of(geometry):
        raise incomplete(kind, f"has the first {len(geometry.widths)} of {len(whole.widths)} layers")


def _whole_of(part: Geometry) -> Geometry | None:
    """The layers of a published family that begin with these; None where these are whole, or of no such family."""
    return None if part in _KNOWN else next((full for full in _KNOWN if _begins(full, part)), None)


def _begins(whole: Geometry, part: Geometry) -> bool:
    return whole.context == part.context and whole.widths[: len(part.widths)] == part.widths


def _under(prefixes: tuple[str, ...], names: Collection[str]) -> list[str]:
    """The names under one of the prefixes, without it."""
    return [name[len(prefix) :] for name in names for prefix in prefixes if name.startswith(prefix)]
