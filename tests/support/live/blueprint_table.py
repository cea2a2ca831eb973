"""What is in each blueprint: drawn in code, and written into subgraphs/ by live.blueprints."""

from collections.abc import Callable
from typing import Any, NamedTuple

from live.graphs import Graph, Link

SPAN = {"start": 0.0, "end": 1.0}
ANY_PACK = "auraface"  # stands for any pack of face networks that is there

Parts = dict[str, Any]


class Blueprint(NamedTuple):
    """A part of a graph.

    about: what it is for. inputs: what comes in, in order. draw: adds the nodes, given what comes in by name; returns
    what goes out by name. settings: what is set on the blueprint itself, as (its name, id of the node, its widget).
    """

    about: str
    inputs: tuple[str, ...]
    draw: Callable[[Graph, dict[str, Link]], dict[str, Any]]
    settings: tuple[tuple[str, str, str], ...]


def found(graph: Graph, model: Any, kind: str = "any") -> Parts:
    """The adapter and the encoder that fit a model, as inputs of an encoding node."""
    loader = graph.add("IPA_AutoLoad", "loader", model=model, kind=kind)
    return {"ip_adapter": loader, "clip_vision": loader[1]}


def image_prompt(graph: Graph, given: dict[str, Link]) -> Parts:
    encoded = graph.add("IPA_Encode", **found(graph, given["model"]), image=given["image"])
    return {"model": graph.add("IPA_Apply", "apply", model=given["model"], image_prompt=encoded, **SPAN)}


def style_and_composition(graph: Graph, given: dict[str, Link]) -> Parts:
    loaded, model = found(graph, given["model"]), given["model"]
    for part, kind in (("style", "style transfer"), ("composition", "composition")):
        encoded = graph.add("IPA_Encode", f"encode {part}", **loaded, image=given[part])
        layers = graph.add("IPA_LayerWeights", f"layers {part}", weight_type=kind, model=given["model"])
        inputs = {"image_prompt": encoded, "layer_weights": layers, **SPAN}
        model = graph.add("IPA_Apply", part, model=model, **inputs)[0]
    return {"model": model}


def face(graph: Graph, given: dict[str, Link]) -> Parts:
    read = graph.add("IPA_Face", "face", image=given["image"], model=ANY_PACK)
    encoded = graph.add("IPA_EncodeFace", **found(graph, given["model"], "FaceID"), faces=read)
    return {"model": graph.add("IPA_Apply", "apply", model=given["model"], image_prompt=encoded, **SPAN)}


def two_subjects(graph: Graph, given: dict[str, Link]) -> Parts:
    loaded = found(graph, given["model"])
    chain: Parts = {}
    for side in ("left", "right"):
        encoded = graph.add("IPA_Encode", f"encode {side}", **loaded, image=given[f"{side} image"])
        inputs: Parts = {"image_prompt": encoded, "positive": given[f"{side} text"], "place": f"{side} half", **SPAN}
        chain = {"regions": graph.add("IPA_Region", side, **inputs, **chain)}
    whole: Parts = {name: given[name] for name in ("model", "positive", "negative")}
    applied = graph.add("IPA_ApplyRegions", **whole, **chain)
    return {"model": applied[0], "positive": applied[1], "negative": applied[2]}


def animation(graph: Graph, given: dict[str, Link]) -> Parts:
    loaded = found(graph, given["model"])
    encoded = graph.add("IPA_Encode", **loaded, image=given["images"], combine="one per frame")
    spread = graph.add("IPA_Transition", "transition", image_prompt=encoded, shape="ease in-out")
    return {"model": graph.add("IPA_Apply", "apply", model=given["model"], image_prompt=spread, **SPAN)}


def of(node: str, *widgets: str) -> tuple[tuple[str, str, str], ...]:
    """Settings of a node under their own names."""
    return tuple((widget, node, widget) for widget in widgets)


BLUEPRINTS = {
    "Image prompt (IP-Adapter)": Blueprint(
        "A picture as prompt: finds the adapter and the encoder that fit the model, encodes the picture, applies it.",
        ("model", "image"),
        image_prompt,
        (*of("apply", "weight", "start", "end"), *of("loader", "kind")),
    ),
    "Style + composition (IP-Adapter)": Blueprint(
        "The style of one picture and the composition of another, each in the layers known for it.",
        ("model", "style", "composition"),
        style_and_composition,
        (("style_weight", "style", "weight"), ("composition_weight", "composition", "weight"), *of("loader", "kind")),
    ),
    "Face (IP-Adapter)": Blueprint(
        "A person's face as prompt, by face recognition: for adapters of the FaceID kinds.",
        ("model", "image"),
        face,
        (*of("apply", "weight", "start", "end", "lora_strength"), *of("loader", "kind"), *of("face", "faces")),
    ),
    "Two subjects (IP-Adapter)": Blueprint(
        "Two pictures, each in its place, with a text for each if you like.",
        ("model", "positive", "negative", "left image", "right image", "left text", "right text"),
        two_subjects,
        (
            *(("left_weight", "left", "weight"), ("right_weight", "right", "weight")),
            *(("left_place", "left", "place"), ("right_place", "right", "place")),
        ),
    ),
    "Animation (IP-Adapter)": Blueprint(
        "From picture to picture over the frames: images is a batch of two or more, frames as many as latents.",
        ("model", "images"),
        animation,
        (*of("transition", "frames", "shape", "hold", "loop"), *of("apply", "weight")),
    ),
}
"""By the name of the file, which is the name in the node search."""
