"""TABLE of the names that files give to an adapter's tensors where they are not those of most published files.

Sources of the names: XLabs-AI/x-flux, src/flux/xflux_pipeline.py, set_ip; ToTheBeginning/PuLID, pulid/pipeline.py,
load_pretrain and hack_unet_attn_layers; InstantX/SD3.5-Large-IP-Adapter, pipeline_stable_diffusion_3_ipa.py;
InstantX/FLUX.1-dev-IP-Adapter, infer_flux_ipa_siglip.py; sorryhyun/anima_lora, bench/ip_adapter/impl/ip_adapter.py;
LuciferTC9527/ComfyUI-Anima_IP-Adapter, nodes.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import NamedTuple

from ..files.tensor_file import Entry
from . import diffusers_names
from .diffusers_names import Sources


class FileNaming(NamedTuple):
    """How a file names its tensors: a row of NAMINGS.

    words: how it does, for people.
    fits: whether names are of this kind.
    find_sources: a file's tensors -> by published name, the tensors that are it.
    """

    words: str
    fits: Callable[[Collection[str]], bool]
    find_sources: Callable[[Mapping[str, Entry]], Sources]


Names = tuple[tuple[str, str], ...]
"""Pattern of a whole name in a file -> the published name, with the pattern's groups in it.

Beside a group `block` there is `number`: blocks are numbered as cross-attentions are, which have the odd numbers.
"""

Pattern = re.Pattern[str]


def _renamed(words: str, names: Names, *signs: str) -> FileNaming:
    """A row whose tensors are one for one those of other files.

    signs: patterns, of each of which such a file has a name; without them it has a name of one of `names`.
    """
    compiled = tuple((re.compile(pattern), published) for pattern, published in names)
    told = tuple((re.compile(sign),) for sign in signs) or (tuple(pattern for pattern, _ in compiled),)
    return FileNaming(words, partial(_has_each, told), partial(_rename_all, compiled))


def _has_each(signs: tuple[tuple[Pattern, ...], ...], names: Collection[str]) -> bool:
    return all(any(pattern.fullmatch(name) for name in names for pattern in sign) for sign in signs)


def _rename_all(names: tuple[tuple[Pattern, str], ...], named: Mapping[str, Entry]) -> Sources:
    """The name in the file of each tensor, by its published name; others keep theirs."""
    return {_publish(names, name): (name,) for name in named}


def _publish(names: tuple[tuple[Pattern, str], ...], name: str) -> str:
    for pattern, published in names:
        if found := pattern.fullmatch(name):
            groups = found.groupdict()
            number = {"number": 2 * int(groups["block"]) + 1} if "block" in groups else {}
            return published.format(**groups, **number)
    return name


_INSTANTX_PROJECTION = r"image_proj(?:_model)?\.(?:time_embedding\..+|proj\.0\.weight)"
_INSTANTX_FIRST = r"(?:ip_adapter|adapter_modules)\.[02]\.(?:to_[kv]_ip|norm_).+"
"""Of the first layers, one of which a damaged file may lack; files that this package saves have odd numbers."""

_ANIMA_LAYER, _ANIMA_GATE = r"to_(?P<kv>[kv])_ip\.(?P<block>\d{1,4})\.weight", r"ip_gate\.(?P<block>\d{1,4})"
_ANIMA = _renamed(
    "as anima_lora names them",
    (
        (_ANIMA_LAYER, "ip_adapter.{number}.to_{kv}_ip.weight"),
        (_ANIMA_GATE, "ip_adapter.{number}.ip_gate"),
        (r"resampler\.(?P<inner>.+)", "image_proj.{inner}"),
        (r"(?P<inner>ip_centroid)", "image_proj.{inner}"),
    ),
    r"to_[kv]_ip\.\d{1,4}\.weight|ip_gate\.\d{1,4}|ip_centroid|resampler\.(?:queries|kv_proj\..+)",
)


_LUCIFER_LORA = r"lora\.base_model\.model\.blocks\.(?P<block>\d{1,4})\."
_LUCIFER = _renamed(
    "as LuciferTC names them",
    (
        (
            r"blocks\.(?P<block>\d{1,4})\.ip_(?P<kv>[kv])_proj\.(?P<inner>weight|bias)",
            "ip_adapter.{number}.to_{kv}_ip.{inner}",
        ),
        (r"blocks\.(?P<block>\d{1,4})\.(?P<inner>adaln_ip\.1\.(?:weight|bias))", "ip_adapter.{number}.{inner}"),
        *(
            (
                _LUCIFER_LORA + rf"cross_attn\.{theirs}\.lora_{half}(?:\.default)?\.weight",
                f"ip_adapter.{{number}}.{ours}_lora.{way}.weight",
            )
            for theirs, ours in (("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("output_proj", "to_out"))
            for half, way in (("A", "down"), ("B", "up"))
        ),
    ),
    r"blocks\.\d{1,4}\.(?:ip_[kv]_proj|adaln_ip\.1)\..+",
)


def _find_used(named: Mapping[str, Entry]) -> Sources:
    """Without what the published file has of a LoRA outside cross-attentions, which its authors' nodes leave out."""
    unused = re.compile(_LUCIFER_LORA + r"(?:self_attn|mlp)\..+")
    return _LUCIFER.find_sources({name: entry for name, entry in named.items() if not unused.fullmatch(name)})


NAMINGS = (
    FileNaming(
        "as diffusers saves its processors", diffusers_names.is_saved_by_diffusers, diffusers_names.find_sources
    ),
    _renamed(
        "as XLabs names them",
        (
            (r"ip_adapter_proj_model\.(?P<inner>.+)", "image_proj.{inner}"),
            (
                r"double_blocks\.(?P<block>\d{1,4})\.processor\.ip_adapter_double_stream_(?P<kv>[kv])_proj\."
                r"(?P<inner>weight|bias)",
                "ip_adapter.{number}.to_{kv}_ip.{inner}",
            ),
        ),
    ),
    _renamed(
        "as PuLID names them",  # its numbers count all attentions already
        (
            (r"id_adapter\.(?P<inner>.+)", "image_proj.{inner}"),
            (
                r"id_adapter_attn_layers\.(?P<number>\d{1,4})\.id_to_(?P<kv>[kv])\.(?P<inner>.+)",
                "ip_adapter.{number}.to_{kv}_ip.{inner}",
            ),
        ),
    ),
    _renamed(
        "as InstantX numbers blocks",
        (
            (
                r"(?P<half>ip_adapter|adapter_modules)\.(?P<block>0|[1-9]\d{0,3})\.(?P<inner>.+)",
                "{half}.{number}.{inner}",
            ),
        ),
        _INSTANTX_PROJECTION,
        _INSTANTX_FIRST,
    ),
    _ANIMA,
    _LUCIFER._replace(find_sources=_find_used),
    _renamed(
        "as a training on several devices saves them",
        ((r"module\.(?P<inner>(?:image_proj(?:_model)?|ip_adapter|adapter_modules|unet)\..+)", "{inner}"),),
        r"module\.(?:image_proj(?:_model)?|ip_adapter|adapter_modules)\..+",
    ),
)


def find_naming(names: Collection[str]) -> FileNaming | None:
    """How the names of an adapter differ from those of most published files; None where they do not."""
    return next((row for row in NAMINGS if row.fits(names)), None)


def find_sources(named: Mapping[str, Entry]) -> Sources:
    """Where in a file each tensor of an adapter is, by published names; in most files they are its own names.

    Raises UnsupportedCheckpoint when several adapters are in the file.
    """
    naming = find_naming(named)
    return naming.find_sources(named) if naming else {name: (name,) for name in named}
