"""What the nodes become that let a model follow pictures: an encoder, perhaps layer weights, and an application."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..compat.words import COMBINES, SCALINGS, SECOND_IS_ONE, Meaning, read_weight_type
from ..settings.weight_list import CUSTOM
from ..text.wording import quoted
from .loaders import Loaded, face_networks, loaded_for
from .sheet import Given, Made, Node, Part, Plan, Sheet, Source, Stays, Way

APPLY, ENCODE, FACE, LAYERS = "apply", "encode", "face", "layers"
_LIMIT = 5.0  # of weights on our nodes, either way
_SHORTCUT = (-1.0, 5.0)  # limits of it on our nodes
_ONE_PER_FRAME = "one per frame"
_SPAN = ("start_at", 0.0), ("end_at", 1.0)
_NUMBER = re.compile(r"(?:^|,)\s*(\d+)\s*:")  # of a layer in a list
_LAYERS = 16  # of the smallest model that there are adapters for


class Strength(NamedTuple):
    """How strongly a prompt acts, and in which layers; numbers are absolute, as in the old pack.

    second: of the weight type; None for its default. layers: a list in place of the weight type.
    """

    weight: Given
    weight_type: str = "linear"
    second: Given = None
    layers: str = ""

    def parts(self, name: str) -> tuple[tuple[Part, ...], Given]:
        """Layer Weights, where it needs any, and the weight of the application."""
        if self.layers.strip():
            inputs: dict[str, Given] = {"weight_type": CUSTOM, "custom": self.layers}
            return (Part(name, "IPA_LayerWeights", inputs),), self.weight
        if self.weight_type == "linear":
            return (), self.weight
        numbers, weight = self._numbers()
        return (Part(name, "IPA_LayerWeights", {"weight_type": self.weight_type, **numbers}),), weight

    def _numbers(self) -> tuple[dict[str, Given], Given]:
        """The two numbers of Layer Weights, and the weight that multiplies both."""
        second = 1.0 if self.second is None and self.weight_type in SECOND_IS_ONE else self.second
        if second is None:
            return {}, self.weight
        if isinstance(self.weight, Source) or isinstance(second, Source) or not self.weight:
            return {"weight": self.weight, "second_weight": second}, 1.0
        relative = second / self.weight
        if abs(relative) > _LIMIT:
            return {"weight": self.weight, "second_weight": second}, 1.0
        return {"second_weight": relative}, self.weight


@dataclass(frozen=True)
class Row:
    """What distinguishes the nodes that apply pictures.

    picture: the name of the input. weight_type: where no input says it. boost: the input with the second weight.
    per_frame: whether each picture is for a frame. old_words: whether weight types are those of before version 2.
    only: values that inputs must have, as our nodes have no such inputs.
    """

    picture: str = "image"
    weight_type: str = ""
    boost: str = ""
    per_frame: bool = False
    old_words: bool = False
    only: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, node: Node, sheet: Sheet, way: Way) -> Plan:
        """The new nodes. Raises Stays where our nodes cannot do the same."""
        _check_only(node, self.only)
        per_frame = self.per_frame or _is_on(node, "unfold_batch")
        loaded = loaded_for(node, sheet)
        meaning = self._meaning(node)
        strength = Strength(_weight(node, sheet, per_frame), meaning.weight_type, self._boost(node), _layers(node))
        combine = _ONE_PER_FRAME if per_frame else combined(node, way)
        encoded = encoding(node, sheet, loaded, node.linked(self.picture), combine)
        settings = settings_of(node, meaning, way) | {"lora_strength": loaded.lora_strength}
        model = node.linked("model")
        parts = application(node, APPLY, strength, {"model": model, "image_prompt": _prompt(node)} | settings)
        return Plan((*encoded, *parts), _outputs(node, loaded))

    def _meaning(self, node: Node) -> Meaning:
        return Meaning(self.weight_type) if self.weight_type else meaning_of(node, self.old_words)

    def _boost(self, node: Node) -> Given:
        return node.number(self.boost) if self.boost else None


def two_pictures(node: Node, sheet: Sheet, way: Way) -> Plan:
    """A node for the style of one picture and the composition of another: each has an application of its own."""
    strong = _is_on(node, "expand_style")
    loaded = loaded_for(node, sheet)
    combine = combined(node, way) if node.row.input("combine_embeds") else _ONE_PER_FRAME
    settings = settings_of(node, Meaning(""), way) | {"lora_strength": loaded.lora_strength}
    style = Strength(node.number("weight_style"), "strong style transfer" if strong else "style transfer")
    composition = Strength(node.number("weight_composition"), "" if strong else "composition")
    if strong:
        composition = composition._replace(layers="composition = 1")
    parts: list[Part] = []
    model: Given = node.linked("model")
    for what, strength in (("style", style), ("composition", composition)):
        name = f"{APPLY} {what}" if what == "style" else APPLY
        parts += encoding(node, sheet, loaded, node.linked(f"image_{what}"), combine, what)
        inputs = {"model": model, "image_prompt": _prompt(node, what), **settings}
        parts += application(node, name, strength, inputs, what)
        model = Made(node.key, name)
    return Plan(tuple(parts), {0: model})


def encoding(
    node: Node, sheet: Sheet, loaded: Loaded, picture: Source, combine: str, what: str = ""
) -> tuple[Part, ...]:
    """The nodes that make an image prompt of a picture, or of the faces in it, where the adapter reads faces."""
    common = {"ip_adapter": loaded.adapter, "combine": combine}
    if loaded.reads_faces:
        return _face_encoding(node, sheet, loaded, picture, common, what)
    if "insightface" in node.sources:
        raise Stays("the name of its adapter does not say whether it reads faces, and insightface is connected")
    if loaded.encoder is None:
        raise Stays("connect its clip_vision first; nothing is connected")
    more = {"clip_vision": loaded.encoder, "image": picture, "negative_image": node.sources.get("image_negative")}
    return (Part(_named(ENCODE, what), "IPA_Encode", common | more),)


def application(
    node: Node, name: str, strength: Strength, inputs: Mapping[str, Given], what: str = ""
) -> tuple[Part, ...]:
    """Layer weights, where any are needed, and the node that applies a prompt."""
    layers, weight = strength.parts(_named(LAYERS, what))
    more = {"layer_weights": Made(node.key, layers[0].name)} if layers else {}
    return (*layers, Part(name, "IPA_Apply", {**inputs, "weight": weight, **more}))


def settings_of(node: Node, meaning: Meaning, way: Way) -> dict[str, Given]:
    """When, where and how a prompt acts."""
    start, end = (node.number(name) if node.row.input(name) else value for name, value in _SPAN)
    if not isinstance(start, Source) and not isinstance(end, Source) and start > end:
        raise Stays("its start lies behind its end, so that it acts in no step")
    return {
        "start": start,
        "end": end,
        "skip_middle_block": way.skip_middle,
        "mask": node.sources.get("attn_mask", node.sources.get("mask")),
        "scaling": meaning.scaling or _one_of(node, "embeds_scaling", SCALINGS),
    }


def meaning_of(node: Node, old_words: bool = False) -> Meaning:
    """What the weight type of a node means. Raises Stays for a word of none."""
    if not node.row.input("weight_type"):
        return Meaning("linear")
    word = node.word("weight_type")
    try:
        return read_weight_type(word, old_words)
    except ValueError:
        raise Stays(f"its weight_type is {quoted(word)}") from None


def combined(node: Node, way: Way) -> str:
    """Our word for the way in which a node combines pictures."""
    word = _one_of(node, "combine_embeds", COMBINES)
    return way.combines.get(word, word)


def _one_of(node: Node, name: str, words: Sequence[str]) -> str:
    """The word of an input; the first of all where the node has none. Raises Stays for a word that is none of them."""
    word = node.word(name) if node.row.input(name) else words[0]
    if word not in words:
        raise Stays(f"its {name} is {quoted(word)}")
    return word


def _face_encoding(
    node: Node, sheet: Sheet, loaded: Loaded, picture: Source, common: Mapping[str, Given], what: str
) -> tuple[Part, ...]:
    negative = node.sources.get("image_negative")
    if negative is not None and not loaded.reads_crops:
        raise Stays("its adapter reads no pictures beside faces, and image_negative is connected")
    if loaded.reads_crops and loaded.encoder is None:
        raise Stays("connect its clip_vision first; its adapter also reads the faces' pictures")
    face = Part(_named(FACE, what), "IPA_Face", {"image": picture, "model": face_networks(node, sheet, loaded)})
    more = {"faces": Made(node.key, face.name), "shortcut": _shortcut(node), "clip_vision": loaded.encoder}
    encode = Part(_named(ENCODE, what), "IPA_EncodeFace", {**common, **more, "negative_image": negative})
    return face, encode


def _shortcut(node: Node) -> Given:
    """How strongly the face's picture acts; where no input says it, twice the weight, as in the old pack."""
    for name in ("weight_faceidv2", "weight_v2"):
        if node.row.input(name):
            return node.number(name)
    shortcut = node.constant("weight" if node.row.input("weight") else "weight_style") * 2
    if not _SHORTCUT[0] <= shortcut <= _SHORTCUT[1]:
        raise Stays(f"twice its weight, {shortcut:g}, is too much for the shortcut of Encode Face Prompt")
    return shortcut


def _weight(node: Node, sheet: Sheet, per_frame: bool) -> Given:
    """The weight. Raises Stays where it may be a list, with a number for each frame."""
    weight = node.number("weight")
    if not isinstance(weight, Source):
        return weight
    if sheet.giver(weight) or (per_frame and not sheet.is_one_number(weight)):
        raise Stays("its weight comes through a link, and may be a list with a number for each frame")
    return weight


def _layers(node: Node) -> str:
    """A list of layer weights, in the words of ours. Raises Stays where ours would act otherwise."""
    text = node.word("layer_weights") if node.row.input("layer_weights") else ""
    if text.strip() and "precise" in meaning_of(node).weight_type:
        raise Stays("a list of layer weights beside a precise weight type pushes away, which a custom list cannot")
    if any(int(number) >= _LAYERS for number in _NUMBER.findall(text)):
        raise Stays("its list names layers that not every model has, which ours takes for a mistake")
    return text


def _check_only(node: Node, only: Mapping[str, float]) -> None:
    for name, value in only.items():
        if node.constant(name) != value:
            raise Stays(f"no node of ours has its {name}; it is {node.values[name]}")


def _is_on(node: Node, name: str) -> bool:
    return bool(node.row.input(name)) and bool(node.constant(name))


def _outputs(node: Node, loaded: Loaded) -> dict[int, Source | Made | None]:
    """The model; and of nodes that show faces, these, or the picture where the adapter reads none."""
    faces = Made(node.key, FACE, 1) if loaded.reads_faces else node.sources.get("image")
    return {0: Made(node.key, APPLY), 1: faces}


def _prompt(node: Node, what: str = "") -> Made:
    return Made(node.key, _named(ENCODE, what))


def _named(*words: str) -> str:
    return " ".join(filter(None, words))
