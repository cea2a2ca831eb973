"""Graphs with the nodes of IPAdapter Plus, as hooks for `text_to_image`."""

from collections.abc import Callable
from typing import Any

from live.graphs import Graph, Node
from live.prompting import OTHER, REFERENCE, WIDE, load
from live.specimens import named

Hook = Callable[[Graph, Any], Node]
Values = dict[str, Any]

SPAN: Values = {"start_at": 0.0, "end_at": 1.0}
LINEAR: Values = {"weight": 1.0, "weight_type": "linear", **SPAN}


def loaders(graph: Graph, adapter: str = "base") -> Values:
    """An adapter by its file and an encoder, as the inputs of an apply node."""
    tower = graph.add("IPA_LoadVision", file=named("tower.safetensors"), activation="auto")
    file = named(f"{adapter}.safetensors")
    return {"ipadapter": graph.add("IPAdapterModelLoader", ipadapter_file=file), "clip_vision": tower}


def advanced(image: str = REFERENCE, adapter: str = "base", **more: Any) -> Hook:
    """IPAdapter Advanced."""

    def hook(graph: Graph, model: Any) -> Node:
        inputs: Values = LINEAR | {"combine_embeds": "concat", "embeds_scaling": "V only"} | more
        picture = load(graph, image)
        return graph.add("IPAdapterAdvanced", model=model, image=picture, **loaders(graph, adapter), **inputs)

    return hook


def applied(node: str, adapter: str = "plus", image: str = REFERENCE, **inputs: Any) -> Hook:
    """Any of the apply nodes that take a picture."""

    def hook(graph: Graph, model: Any) -> Node:
        return graph.add(node, model=model, image=load(graph, image), **loaders(graph, adapter), **inputs)

    return hook


def unified(preset: str) -> Hook:
    """The unified loader and the simple node."""

    def hook(graph: Graph, model: Any) -> Node:
        found = graph.add("IPAdapterUnifiedLoader", model=model, preset=preset)
        inputs: Values = LINEAR | {"weight_type": "standard"}
        return graph.add("IPAdapter", model=found, ipadapter=found[1], image=load(graph, REFERENCE), **inputs)

    return hook


def two_pictures(**more: Any) -> Hook:
    """Style of one picture and composition of another."""

    def hook(graph: Graph, model: Any) -> Node:
        images: Values = {"image_style": load(graph, REFERENCE), "image_composition": load(graph, OTHER)}
        inputs: Values = {
            "weight_style": 1.0,
            "weight_composition": 1.0,
            "expand_style": False,
            "combine_embeds": "average",
        }
        node = "IPAdapterStyleComposition"
        return graph.add(node, model=model, **images, **loaders(graph), **SPAN, **(inputs | more))

    return hook


def embeds(graph: Graph, model: Any) -> Node:
    """Embeds of two pictures, combined, saved, and applied with the negative ones of another."""
    parts = loaders(graph)
    first = graph.add("IPAdapterEncoder", image=load(graph, REFERENCE), weight=1.0, **parts)
    second = graph.add("IPAdapterEncoder", image=load(graph, OTHER), weight=0.5, **parts)
    both = graph.add("IPAdapterCombineEmbeds", embed1=first, embed2=second, method="norm average")
    graph.add("IPAdapterSaveEmbeds", embeds=both, filename_prefix="IP_embeds")
    return graph.add("IPAdapterEmbeds", model=model, pos_embed=both, neg_embed=second[1], **parts, **LINEAR)


def embeds_alone(graph: Graph, model: Any) -> Node:
    """Embeds of one picture."""
    parts = loaders(graph)
    encoded = graph.add("IPAdapterEncoder", image=load(graph, REFERENCE), weight=1.0, **parts)
    return graph.add("IPAdapterEmbeds", model=model, pos_embed=encoded, neg_embed=encoded[1], **parts, **LINEAR)


def regions(graph: Graph, model: Any) -> Node:
    """Two regions of the whole picture, each with a text."""
    mask = graph.add("SolidMask", value=1.0, width=64, height=64)
    text = graph.add("CLIPTextEncode", text="a cat", clip=["loader", 1])
    places: Values = {
        "image_weight": 1.0,
        "prompt_weight": 1.0,
        "weight_type": "linear",
        "mask": mask,
        "positive": text,
    }
    each = [
        graph.add("IPAdapterRegionalConditioning", image=load(graph, image), **places, **SPAN)
        for image in (REFERENCE, OTHER)
    ]
    params = graph.add("IPAdapterCombineParams", params_1=each[0], params_2=each[1])
    inputs: Values = {"ipadapter_params": params, "combine_embeds": "concat"}
    return graph.add("IPAdapterFromParams", model=model, **inputs, **loaders(graph))


def fade(graph: Graph, model: Any) -> Node:
    """Two pictures that fade into each other over frames."""
    parts = loaders(graph)
    frames: Values = {
        "frames": 2,
        "start_frame": 0,
        "end_frame": 9999,
        "add_starting_frames": 0,
        "add_ending_frames": 0,
    }
    weights = graph.add(
        "IPAdapterWeights",
        weights="1.0, 0.0",
        timing="linear",
        method="alternate batches",
        image=load(graph, REFERENCE, OTHER),
        **frames,
    )
    first = graph.add("IPAdapterBatch", model=model, image=weights[3], **parts, **(LINEAR | {"weight": weights}))
    again = graph.add("IPAdapterWeightsFromStrategy", weights_strategy=weights[5], image=load(graph, REFERENCE, OTHER))
    kind: Values = {"weight": again[1], "weight_type": "style and composition"}
    return graph.add("IPAdapterBatch", model=first, image=again[4], **parts, **(LINEAR | kind))


def prepared(graph: Graph, model: Any) -> Node:
    """A picture cut at its top, and a negative one of noise."""
    word: Values = {"interpolation": "bicubic", "crop_position": "top", "sharpening": 0.3}
    picture = graph.add("PrepImageForClipVision", image=load(graph, WIDE), **word)
    noise = graph.add("IPAdapterNoise", type="shuffle", strength=0.6, blur=3, image_optional=picture)
    inputs: Values = LINEAR | {"combine_embeds": "concat"}
    return graph.add("IPAdapterAdvanced", model=model, image=picture, image_negative=noise, **loaders(graph), **inputs)


def old_apply(graph: Graph, model: Any) -> Node:
    """A graph of October 2023: three values, and a file in a folder with a backslash."""
    parts = loaders(graph)
    folder, _, name = named("base.safetensors").rpartition("/")
    parts["ipadapter"] = graph.add("IPAdapterModelLoader", ipadapter_file=f"old{folder}\\{name}")
    values: Values = {"weight": 1.0, "noise": 0.0, "weight_type": "original"}
    return graph.add("IPAdapterApply", model=model, image=load(graph, REFERENCE), **parts, **values)


def old_embeds(graph: Graph, model: Any) -> Node:
    """Embeds of before version 2, of two pictures with weights and noise."""
    parts = loaders(graph)
    pictures: Values = {"image_1": load(graph, REFERENCE), "image_2": load(graph, WIDE)}
    values: Values = {"ipadapter_plus": False, "noise": 0.3, "weight_1": 0.8}
    node = "IPAdapterEncoder (before version 2)"
    encoded = graph.add(node, clip_vision=parts["clip_vision"], **pictures, **values)
    both = graph.add("IPAdapterBatchEmbeds", embed1=encoded, embed2=encoded)
    inputs: Values = {"weight": 1.0, "weight_type": "channel penalty"}
    return graph.add("IPAdapterApplyEncoded", model=model, ipadapter=parts["ipadapter"], embeds=both, **inputs)


def other_pack(graph: Graph, model: Any) -> Node:
    """The node of another pack that has the id IPAdapter too."""
    inputs: Values = {"weight": 1.0, "model_name": named("base.safetensors"), "dtype": "fp16"}
    tower = loaders(graph)["clip_vision"]
    image = load(graph, REFERENCE)
    return graph.add("IPAdapter (laksjdjf)", model=model, image=image, clip_vision=tower, **inputs)
