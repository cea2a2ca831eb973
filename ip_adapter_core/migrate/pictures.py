"""What nodes become that make pictures, and those of before there were others."""

from __future__ import annotations

from ..compat.words import RESAMPLINGS
from .applying import APPLY, ENCODE, Strength, application
from .sheet import Given, Made, Node, Part, Plan, Sheet, Source, Stays, Way

_PREPARE = "prepare"
_FACE_SIDE = 640  # pixels that face networks look at
_LOAD = "load"


def prepare(node: Node, sheet: Sheet, way: Way) -> Plan:
    """A square picture, cut at a side or padded with black."""
    crop, interpolation = node.word("crop_position"), node.word("interpolation")
    resampling = RESAMPLINGS.get(interpolation, interpolation)
    return _prepared(node, {"crop": crop, "interpolation": resampling})


def prepare_face(node: Node, sheet: Sheet, way: Way) -> Plan:
    """A square picture for face networks."""
    if node.constant("pad_around"):
        raise Stays("it puts a white border around the picture, which no node of ours does")
    return _prepared(node, {"crop": node.word("crop_position"), "size": _FACE_SIDE})


def encode_vision(node: Node, sheet: Sheet, way: Way) -> Plan:
    """What an encoder says of a picture, which ComfyUI itself has a node for."""
    inputs = {name: node.linked(name) for name in ("clip_vision", "image")}
    return Plan((Part(ENCODE, "CLIPVisionEncode", inputs),), {0: Made(node.key, ENCODE)})


def apply_file(node: Node, sheet: Sheet, way: Way) -> Plan:
    """A file by its name and a picture, in one node of another pack."""
    if sheet.is_taken(Source(node.key, 1)):
        raise Stays(f"its output {node.row.outputs[1].name} is connected, and no node of ours has it")
    if "clip_vision_output" in node.sources:
        raise Stays("its clip_vision_output is connected, and no node of ours takes it")
    load = Part(_LOAD, "IPA_LoadAdapter", {"file": node.word("model_name")})
    sockets = {name: node.linked(name) for name in ("image", "clip_vision")}
    encode = Part(ENCODE, "IPA_Encode", {"ip_adapter": Made(node.key, _LOAD), **sockets})
    inputs = {"model": node.linked("model"), "image_prompt": Made(node.key, ENCODE), "mask": node.sources.get("mask")}
    settings = {"lora_strength": 0.0, "skip_middle_block": way.skip_middle}
    parts = application(node, APPLY, Strength(node.number("weight")), inputs | settings)
    return Plan((load, encode, *parts), {0: Made(node.key, APPLY)})


def _prepared(node: Node, inputs: dict[str, Given]) -> Plan:
    borders = {"border": "black"} if inputs["crop"] == "pad" else {}
    more = {"image": node.linked("image"), "sharpen": node.number("sharpening")}
    return Plan((Part(_PREPARE, "IPA_Prepare", inputs | borders | more),), {0: Made(node.key, _PREPARE)})
