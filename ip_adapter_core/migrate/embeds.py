"""What nodes become whose embeds go through sockets of their own: image prompts, made, combined, saved and loaded."""

from __future__ import annotations

from itertools import pairwise

from ..compat.signatures import OLD_ENCODER
from .applying import APPLY, ENCODE, Strength, application, meaning_of, settings_of
from .loaders import Loaded, loaded_for, provider
from .sheet import Given, Made, Node, Part, Plan, Sheet, Source, Stays, Way

_ENCODER, _COMBINE, _LOAD, _SAVE = (
    "IPAdapterEncoder",
    "IPAdapterCombineEmbeds",
    "IPAdapterLoadEmbeds",
    "IPAdapterSaveEmbeds",
)
_ENCODER_SOCKET = "clip_vision"  # it only gave the negative embeds, which prompts bring
_IN_INPUT = " [input]"  # how our menu names files of ComfyUI's input folder


def encode(node: Node, sheet: Sheet, way: Way) -> Plan:
    """A picture as an image prompt; the negative one is in it."""
    if node.number("weight") != 1.0 or "mask" in node.sources:
        raise Stays("it weighs or masks what the encoder gives, which no node of ours does")
    loaded = loaded_for(node, sheet)
    if loaded.reads_faces:
        raise Stays("its adapter reads faces")
    inputs = {"ip_adapter": loaded.adapter, "clip_vision": _encoder(loaded), "image": node.linked("image")}
    prompt = Made(node.key, ENCODE)
    return Plan((Part(ENCODE, "IPA_Encode", inputs),), {0: prompt, 1: prompt})


def combine(node: Node, sheet: Sheet, way: Way) -> Plan:
    """Image prompts beside each other. Raises Stays for other ways, as tokens are not what the old pack combined."""
    if node.word("method") != "concat":
        raise Stays(f"Combine Image Prompts combines tokens, not embeds, by {node.values['method']}")
    sources = [node.sources[given.name] for given in node.row.inputs if given.name in node.sources]
    adapter_of_prompt(node, sheet)
    if len(sources) == 1:
        return Plan((), {0: sources[0]})
    names = [*(f"combine {number}" for number in range(2, len(sources))), "combine"]
    firsts: list[Given] = [sources[0], *(Made(node.key, name) for name, _ in pairwise(names))]
    parts = tuple(
        Part(name, "IPA_Combine", {"first": first, "second": second, "how": "side by side", **_ALIKE})
        for name, first, second in zip(names, firsts, sources[1:], strict=True)
    )
    return Plan(parts, {0: Made(node.key, "combine")})


_ALIKE = {"first_weight": 1.0, "second_weight": 1.0}


def save(node: Node, sheet: Sheet, way: Way) -> Plan:
    """An image prompt in a file of ours."""
    adapter_of_prompt(node, sheet)
    inputs = {"image_prompt": node.linked("embeds"), "filename_prefix": node.word("filename_prefix")}
    return Plan((Part("save", "IPA_SavePrompt", inputs),))


def apply(node: Node, sheet: Sheet, way: Way) -> Plan:
    """An image prompt applied to a model."""
    name = "pos_embed" if node.row.input("pos_embed") else "embeds"
    loaded = loaded_for(node, sheet)
    if loaded.reads_faces:
        raise Stays("its adapter reads faces")
    before, prompt = _prompt(node, sheet, loaded, name)
    meaning = meaning_of(node, node.row.before_version_2)
    if node.row.input("unfold_batch") and node.constant("unfold_batch"):
        raise Stays("its embeds are for frames, which only Encode Image Prompt deals out")
    weight = node.number("weight")
    if isinstance(weight, Source) and sheet.giver(weight):
        raise Stays("its weight may be a list with a number for each frame")
    inputs = {"model": node.linked("model"), "image_prompt": prompt, **settings_of(node, meaning, way)}
    parts = application(
        node, APPLY, Strength(weight, meaning.weight_type), inputs | {"lora_strength": loaded.lora_strength}
    )
    return Plan((*before, *parts), {0: Made(node.key, APPLY)}, (_ENCODER_SOCKET,))


def adapter_of_prompt(node: Node, sheet: Sheet) -> Node:
    """The loader of the adapter that all embeds of a node are for. Raises Stays where they are of several, or none."""
    names = [given.name for given in node.row.inputs if given.type == "EMBEDS" and given.name in node.sources]
    owners = {owner.key: owner for owner in (_adapter_of(node, sheet, name) for name in names)}
    if len(owners) != 1:
        raise Stays("its embeds are not all made with one adapter")
    return next(iter(owners.values()))


def _adapter_of(node: Node, sheet: Sheet, name: str) -> Node:
    giver, output = provider(node, sheet, name), sheet.origin(node.linked(name))
    if giver.id == _COMBINE:
        return adapter_of_prompt(giver, sheet)
    if giver.id != _ENCODER or output.slot:
        raise Stays(f"its {name} comes from {giver.row.outputs[output.slot].name} of {giver.row.name}")
    return provider(giver, sheet, "ipadapter")


def _prompt(node: Node, sheet: Sheet, loaded: Loaded, name: str) -> tuple[tuple[Part, ...], Given]:
    """The nodes that make the prompt here, and the prompt: of a file, of pictures, or of a node before."""
    giver = provider(node, sheet, name)
    make = {_LOAD: _load, OLD_ENCODER: _encode_pictures}.get(giver.id or "")
    if make:
        return make(node, giver, sheet, loaded), Made(node.key, ENCODE)
    if _adapter_of(node, sheet, name).key != loaded.owner.key:
        raise Stays(f"its {name} is made with another adapter")
    _check_neutral(node, sheet)
    return (), node.linked(name)


def _load(node: Node, giver: Node, sheet: Sheet, loaded: Loaded) -> tuple[Part, ...]:
    inputs = {"ip_adapter": loaded.adapter, "clip_vision": loaded.encoder, "file": giver.word("embeds") + _IN_INPUT}
    if "neg_embed" in node.sources:
        negative = provider(node, sheet, "neg_embed")
        if negative.id != _LOAD:
            raise Stays("its neg_embed comes from no file")
        inputs["negative"] = negative.word("embeds") + _IN_INPUT
    return (Part(ENCODE, "IPA_LoadPrompt", inputs),)


def _encode_pictures(node: Node, giver: Node, sheet: Sheet, loaded: Loaded) -> tuple[Part, ...]:
    """The encoder of before version 2, which knew no adapter; it stands before each application."""
    names = [f"image_{number}" for number in (1, 2, 3, 4) if f"image_{number}" in giver.sources]
    if giver.number("noise") or any(giver.number(name.replace("image", "weight")) != 1.0 for name in names):
        raise Stays("its pictures have weights or noise that no node of ours has")
    pictures = [giver.linked("image_1"), *(giver.sources[name] for name in names if name != "image_1")]
    batches = [f"batch {number}" for number in range(2, len(pictures) + 1)]
    firsts: list[Given] = [pictures[0], *(Made(node.key, name) for name in batches)]
    joined = tuple(
        Part(name, "ImageBatch", {"image1": first, "image2": picture})
        for name, first, picture in zip(batches, firsts, pictures[1:], strict=False)
    )
    inputs = {"ip_adapter": loaded.adapter, "clip_vision": giver.linked("clip_vision"), "image": firsts[-1]}
    return (*joined, Part(ENCODE, "IPA_Encode", inputs))


def _check_neutral(node: Node, sheet: Sheet) -> None:
    """Raises Stays for negative embeds that are not those of no picture."""
    if "neg_embed" not in node.sources:
        return
    giver, output = provider(node, sheet, "neg_embed"), sheet.origin(node.linked("neg_embed"))
    if giver.id != _ENCODER or output.slot != 1:
        raise Stays("its neg_embed is made of a picture of its own")


def _encoder(loaded: Loaded) -> Given:
    if loaded.encoder is None:
        raise Stays("connect its clip_vision first; nothing is connected")
    return loaded.encoder
