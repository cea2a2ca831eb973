"""TABLE of the ways in which other packs call the classes of IPAdapter Plus: names of arguments and their order.

Impact: IPAdapterApply (SEGS), modules/impact/core.py. Inspire: the model helper and the regional nodes, model_nodes.py
and regional_nodes.py in inspire. Easy-Use: py/nodes/adapter.py. A row is a function Given -> MODEL.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import comfy.utils
import folder_paths

import nodes


class Given(NamedTuple):
    """What the nodes of those packs have at hand."""

    model: Any
    ipadapter: Any
    clip_vision: Any
    image: Any
    other: Any


Way = Callable[[Given], Any]


def of(node: str) -> Any:
    """A node of the pack, as its callers make it."""
    return nodes.NODE_CLASS_MAPPINGS[node]()


def file_of(ipadapter: Any) -> str:
    name: str = ipadapter["ipadapter"]["file"]
    return name


# Impact and Inspire: everything by its name, and the first of what comes back


def segment(given: Given) -> Any:
    """Impact, with a word for the weight type that version 2 took away."""
    return of("IPAdapterAdvanced").apply_ipadapter(
        model=given.model,
        ipadapter=given.ipadapter,
        weight=0.7,
        weight_type="channel penalty",
        start_at=0.0,
        end_at=0.9,
        combine_embeds="concat",
        clip_vision=given.clip_vision,
        image=given.image,
        image_negative=given.other,
        attn_mask=None,
        insightface=None,
        weight_faceidv2=1.0,
    )[0]


def region(given: Given) -> Any:
    """Inspire, with the second word of the list that it reads off the class."""
    words = of("IPAdapterAdvanced").INPUT_TYPES()["required"]["weight_type"][0]
    return of("IPAdapterAdvanced").apply_ipadapter(
        model=given.model,
        ipadapter=given.ipadapter,
        weight=0.7,
        weight_type=words[1],
        start_at=0.0,
        end_at=1.0,
        combine_embeds="concat",
        clip_vision=given.clip_vision,
        image=given.image,
        image_negative=None,
        attn_mask=nodes.NODE_CLASS_MAPPINGS["SolidMask"]().solid(1.0, 64, 64)[0],
        insightface=None,
        weight_faceidv2=False,
    )[0]


def encoded_region(given: Given) -> Any:
    embeds, negative = of("IPAdapterEncoder").encode(given.ipadapter, given.image, 1.0, None, given.clip_vision)
    return of("IPAdapterEmbeds").apply_ipadapter(
        model=given.model,
        ipadapter=given.ipadapter,
        pos_embed=embeds,
        weight=0.7,
        weight_type="linear",
        start_at=0.0,
        end_at=1.0,
        neg_embed=negative,
        attn_mask=None,
        clip_vision=given.clip_vision,
    )[0]


def helper(given: Given) -> Any:
    """Inspire's helper loads the adapter itself, and the reader of faces in two ways."""
    (loaded,) = of("IPAdapterModelLoader").load_ipadapter_model(ipadapter_file=file_of(given.ipadapter))
    load = of("IPAdapterInsightFaceLoader").load_insightface
    by_name, by_place = load(provider="CPU", model_name="buffalo_l")[0], load("CPU")[0]
    if by_name is not by_place:
        raise ValueError("The two readers are not the same.")
    return region(given._replace(ipadapter=loaded))


# Easy-Use: some by their place, and exactly two or three come back


def simple(given: Given) -> Any:
    model, _ = of("IPAdapter").apply_ipadapter(
        given.model, own_pipeline(given), given.image, 0.7, 0.0, 0.9, weight_type="standard", attn_mask=None
    )
    return model


def own_pipeline(given: Given) -> dict[str, dict[str, Any]]:
    """What Easy-Use loads itself: tensors by their names, and the file that they are of."""
    file = folder_paths.get_full_path("ipadapter", file_of(given.ipadapter))
    return {
        "clipvision": {"file": "tower", "model": given.clip_vision},
        "ipadapter": {"file": file, "model": comfy.utils.load_torch_file(file)},
        "insightface": {"provider": None, "model": None},
    }


def advanced(given: Given, node: str = "IPAdapterAdvanced", **more: Any) -> Any:
    words: dict[str, Any] = {
        "weight": 0.7,
        "weight_type": "linear",
        "start_at": 0.0,
        "end_at": 0.9,
        "combine_embeds": "concat",
        "weight_faceidv2": 1.0,
        "image": given.image,
        "image_negative": None,
        "weight_style": 1.0,
        "weight_composition": 1.0,
        "image_style": None,
        "image_composition": None,
        "expand_style": False,
        "clip_vision": given.clip_vision,
        "attn_mask": None,
        "insightface": None,
        "embeds_scaling": "V only",
        "weight_kolors": 0.7,
    }
    model, _ = of(node).apply_ipadapter(given.model, given.ipadapter, **(words | more))
    return model


def two_pictures(given: Given) -> Any:
    model, _ = of("IPAdapterAdvanced").apply_ipadapter(
        given.model,
        given.ipadapter,
        start_at=0.0,
        end_at=1.0,
        weight_style=0.8,
        weight_composition=0.6,
        weight_type="linear",
        combine_embeds="average",
        weight_faceidv2=0.6,
        image_style=given.image,
        image_composition=given.other,
        image_negative=None,
        expand_style=True,
        clip_vision=given.clip_vision,
        attn_mask=None,
        insightface=None,
        embeds_scaling="V only",
    )
    return model


def tiles_by_place(given: Given) -> Any:
    pipeline = given.ipadapter | {"clipvision": {"file": None, "model": given.clip_vision}}
    rest: dict[str, Any] = {"image_negative": None, "attn_mask": None, "clip_vision": None, "embeds_scaling": "V only"}
    model, _, _ = of("IPAdapterTiled").apply_tiled(
        given.model, pipeline, given.image, 0.7, "linear", 0.0, 0.9, sharpening=0.0, combine_embeds="concat", **rest
    )
    return model


def tiles_by_name(given: Given) -> Any:
    model, _, _ = of("IPAdapterTiledBatch").apply_tiled(
        given.model,
        given.ipadapter,
        image=given.image,
        weight=0.7,
        weight_type="linear",
        start_at=0.0,
        end_at=0.9,
        sharpening=0.2,
        combine_embeds="concat",
        image_negative=None,
        attn_mask=None,
        clip_vision=given.clip_vision,
        embeds_scaling="V only",
    )
    return model


def embeds(given: Given) -> Any:
    encode = of("IPAdapterEncoder").encode
    positive, negative = encode(given.ipadapter, given.image, 1.0, None, clip_vision=given.clip_vision)
    rest: dict[str, Any] = {"attn_mask": None, "clip_vision": given.clip_vision, "embeds_scaling": "V only"}
    model, _ = of("IPAdapterEmbeds").apply_ipadapter(
        given.model, given.ipadapter, positive, 0.7, "linear", 0.0, 0.9, neg_embed=negative, **rest
    )
    return model


def regions(given: Given) -> Any:
    """Two regions of the whole picture, whose bundles Easy-Use joins itself; it opens its pipeline for an encoder."""
    make = of("IPAdapterRegionalConditioning").conditioning
    each = [make(image, 0.7, 1.0, "linear", 0.0, 0.9, mask=None, positive=[], negative=[]) for image in given[3:]]
    joined = {name: [*each[0][0][name], *each[1][0][name]] for name in each[0][0]}
    model, _ = of("IPAdapterFromParams").apply_ipadapter(
        given.model,
        given.ipadapter | {"clipvision": {"file": None, "model": given.clip_vision}},
        clip_vision=None,
        combine_embeds="concat",
        embeds_scaling="V only",
        image_negative=None,
        ipadapter_params=joined,
    )
    return model


WAYS: dict[str, Way] = {
    "Impact: segment": segment,
    "Inspire: region": region,
    "Inspire: encoded region": encoded_region,
    "Inspire: helper": helper,
    "Easy-Use: simple": simple,
    "Easy-Use: advanced": advanced,
    "Easy-Use: batch": lambda given: advanced(given, "IPAdapterBatch"),
    "Easy-Use: layers": lambda given: advanced(given, layer_weights="3:2, 6:1"),
    "Easy-Use: two pictures": two_pictures,
    "Easy-Use: tiles by place": tiles_by_place,
    "Easy-Use: tiles by name": tiles_by_name,
    "Easy-Use: embeds": embeds,
    "Easy-Use: regions": regions,
}
