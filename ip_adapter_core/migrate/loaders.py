"""What the loaders become, and what nodes behind them have of them: adapter, encoder, face networks, LoRA."""

from __future__ import annotations

from typing import NamedTuple

from ..compat.presets import read_preset
from ..compat.signatures import FACE_PRESETS, PLAIN_PRESETS
from ..text.wording import quoted
from .sheet import ACTIVE, MUTED, Given, Made, Node, Part, Plan, Sheet, Source, Stays, Way

_PART = "load"
_FACE_NETWORKS = "buffalo_l"
_FACE_KINDS, _READS_CROPS = ("FaceID", "FaceID-Plus", "portrait"), "FaceID-Plus"
_FACE_WORDS, _CROP_WORD = ("faceid", "portrait", "instantid"), "plus"
_NOT_ASKED_FOR = (PLAIN_PRESETS[2], FACE_PRESETS[1], FACE_PRESETS[4])
"""Presets that differ from another one only in what no kind of the menu says: VIT-G, FaceID-Plus v1, unnorm."""

UNIFIED = ("IPAdapterUnifiedLoader", "IPAdapterUnifiedLoaderFaceID", "IPAdapterUnifiedLoaderCommunity")
BY_FILE = "IPAdapterModelLoader"
FACE_LOADERS = ("IPAdapterInsightFaceLoader", "InsightFaceLoader")


class Loaded(NamedTuple):
    """What a node has of its loader.

    adapter: the output. owner: the loader. encoder: an output, or None. reads_faces: whether the adapter does.
    reads_crops: whether it also reads the faces' pictures. lora_strength: of the LoRA in its file.
    """

    adapter: Source
    owner: Node
    encoder: Source | Made | None
    reads_faces: bool
    reads_crops: bool
    lora_strength: Given


def load_file(node: Node, sheet: Sheet, way: Way) -> Plan:
    """A loader of a file by its name."""
    part = Part(_PART, "IPA_LoadAdapter", {"file": node.word("ipadapter_file")})
    return Plan((part,), {0: Made(node.key, _PART)})


def load_preset(node: Node, sheet: Sheet, way: Way) -> Plan:
    """A loader that looks for what fits the model; the model passes by it."""
    model = node.linked("model")
    _check_passing(node, sheet)
    part = Part(_PART, "IPA_AutoLoad", {"model": model, "kind": _kind(node)})
    return Plan((part,), {0: model, 1: Made(node.key, _PART)})


def fold(node: Node, sheet: Sheet, way: Way) -> Plan:
    """A loader whose values stand on each of the nodes behind it. Raises Stays where there are none."""
    if not sheet.takers(Source(node.key, 0)):
        raise Stays("nothing is connected to it")
    return Plan()


def loaded_for(node: Node, sheet: Sheet) -> Loaded:
    """What a node has of the loader that its ipadapter comes from. Raises Stays where that says too little."""
    source = node.linked("ipadapter")
    owner = provider(node, sheet, "ipadapter")
    own = node.sources.get("clip_vision")
    if owner.id == BY_FILE:
        name = owner.word("ipadapter_file").lower()
        faces = any(word in name for word in _FACE_WORDS)
        return Loaded(source, owner, own, faces, faces and _CROP_WORD in name, 0.0)
    if owner.id not in UNIFIED:
        raise Stays(f"its ipadapter comes from {owner.row.name}")
    kind = _kind(owner)
    faces = kind in _FACE_KINDS
    encoder = own or (None if faces and kind != _READS_CROPS else Made(owner.key, _PART, 1))
    strength = owner.number("lora_strength") if faces and owner.row.input("lora_strength") else 0.0
    return Loaded(source, owner, encoder, faces, kind == _READS_CROPS, strength)


def face_networks(node: Node, sheet: Sheet, loaded: Loaded) -> str:
    """The folder of the networks that find and recognise faces. Raises Stays where none is said."""
    if "insightface" not in node.sources:
        if loaded.owner.id == UNIFIED[1]:
            return _FACE_NETWORKS
        raise Stays("connect its insightface first; its adapter reads faces, and nothing is connected")
    owner = provider(node, sheet, "insightface")
    return owner.word("model_name") if owner.row.input("model_name") else _FACE_NETWORKS


def provider(node: Node, sheet: Sheet, name: str) -> Node:
    """The old node that an input comes from. Raises Stays for those of others, and for one that is switched off."""
    found = sheet.giver(node.linked(name))
    if found is None:
        raise Stays(f"its {name} comes from a node of others, or from outside")
    if found.mode != ACTIVE and node.mode == ACTIVE:
        raise Stays(f"its {name} comes from a node that is switched off")
    return found


def _kind(node: Node) -> str:
    preset = node.word("preset")
    if preset.casefold() in map(str.casefold, _NOT_ASKED_FOR):
        raise Stays(f"no kind of Load IP-Adapter (auto) means {quoted(preset)} alone")
    try:
        return read_preset(preset).kind
    except ValueError:
        raise Stays(f"its preset is {quoted(preset)}") from None


def _check_passing(node: Node, sheet: Sheet) -> None:
    """Raises Stays where the model that passes would be another one: stopped by a muted node, or without its LoRA."""
    output = Source(node.key, 0)
    if node.mode == MUTED and any(taker.mode != MUTED for taker, _ in sheet.takers(output)):
        raise Stays("it is muted, and so stops nodes that it gives its model to")
    strength = node.values.get("lora_strength", 0.0) if "lora_strength" not in node.sources else None
    if node.mode == ACTIVE and strength != 0 and not _reaches_apply(node, sheet, output, set()):
        raise Stays("the LoRA on its model also acts where no image prompt of it is applied")


def _reaches_apply(loader: Node, sheet: Sheet, output: Source, seen: set[Source]) -> bool:
    """Whether a model comes to nodes that apply the loader's adapter, on all ways."""
    if output in seen:
        return True
    seen.add(output)
    if sheet.leaves(output):
        return False
    return all(_applies(loader, sheet, taker, seen) for taker, _ in sheet.takers(output))


def _applies(loader: Node, sheet: Sheet, taker: Node, seen: set[Source]) -> bool:
    if taker.id and taker.mode == ACTIVE and "ipadapter" in taker.sources and taker.id not in UNIFIED:
        return sheet.giver(taker.sources["ipadapter"]) is loader or _goes_on(loader, sheet, taker, seen)
    return _goes_on(loader, sheet, taker, seen)


def _goes_on(loader: Node, sheet: Sheet, taker: Node, seen: set[Source]) -> bool:
    """Whether a node hands its model on: by its first output, as all nodes that change models do."""
    onward = Source(taker.key, 0)
    return bool(sheet.takers(onward)) and taker.gives_model and _reaches_apply(loader, sheet, onward, seen)
