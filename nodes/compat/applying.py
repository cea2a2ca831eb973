"""What the apply nodes of the old pack do: MODEL, IPADAPTER and references -> MODEL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from ...ip_adapter_core.compat.old_noise import noisy_negative
from ...ip_adapter_core.compat.words import read_weight_type
from ..host import server
from ..host.vision import NORMED
from ..notices import of_mask
from . import references, regions
from .numbers import Numbers, numbers_of
from .placing import Settings, Weight, place
from .references import Look, References
from .values import Bundle, unpack

Result = tuple[Any, ...]

_BOOSTS = {"style_boost": "style transfer precise", "composition_boost": "composition precise"}
"""Input for a second weight -> the weight type that it chooses."""


def apply_ipadapter(
    model: Any, ipadapter: Any, per_frame: bool = False, old_words: bool = False, **given: Any
) -> Result:
    """A MODEL that follows a picture, or each picture of a bundle of regions; then the faces that were cut out.

    per_frame: whether each picture is for a frame of its own. old_words: whether words mean what they did before
    version 2. given: by the names of the inputs. Raises ValueError for what cannot be done, before anything is sampled.
    """
    bundle = unpack(ipadapter, given.get("clip_vision"), given.get("insightface"))
    way = numbers_of(given.get("numbers"))
    pictures = None
    for region in _regions(given):
        settings = _settings(region, per_frame or bool(region.get("unfold_batch")), old_words)
        _warn_of_mask(settings.mask)
        read = _read(bundle, region, way)
        model = place(model, bundle.adapter, read, settings, way)
        if region.get("image_composition") is not None:
            model = _place_composition(model, bundle, region, settings, way)
        pictures = read.pictures
    return model, pictures


def apply_embeds(model: Any, ipadapter: Any, per_frame: bool = False, old_words: bool = False, **given: Any) -> Result:
    """A MODEL that follows embeds of pictures, and no faces; arguments and errors as in `apply_ipadapter`."""
    bundle = unpack(ipadapter, given.get("clip_vision"))
    way = numbers_of(given.get("numbers"))
    settings = _settings(given, per_frame or bool(given.get("unfold_batch")), old_words)
    _warn_of_mask(settings.mask)
    positive: Any = given.get("pos_embed", given.get("embeds"))
    read = references.of_embeds(bundle, positive, given.get("neg_embed"), way)
    return place(model, bundle.adapter, read, settings, way), None


def _regions(given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The settings of each region; a node without a bundle of them is one region."""
    params = given.get("ipadapter_params")
    if params is None:
        yield _of_two_pictures(dict(given))
        return
    lists = regions.lists(params)
    for number, image in enumerate(lists["image"]):
        if image is not None:
            yield {**given, **{name: values[number] for name, values in lists.items()}}


def _of_two_pictures(given: dict[str, Any]) -> dict[str, Any]:
    """The settings of a node for style and composition in the words of the others."""
    style = given.pop("image_style", None)
    if style is None:
        return given | {"image_composition": None}
    kind = "strong style and composition" if given.get("expand_style") else "style and composition"
    composition = style if given.get("image_composition") is None else given["image_composition"]
    in_other_words = {"image": style, "weight": given.get("weight_style", 1.0), "weight_type": kind, "second": 0.0}
    return given | in_other_words | {"image_composition": composition}


def _settings(given: Mapping[str, Any], per_frame: bool, old_words: bool) -> Settings:
    boost = next((name for name in _BOOSTS if given.get(name) is not None), None)
    word = _BOOSTS[boost] if boost else given.get("weight_type") or "linear"
    meaning = read_weight_type(word, old_words)
    return Settings(
        weight=given.get("weight", 1.0),
        second=given[boost] if boost else given.get("second"),
        weight_type=meaning.weight_type,
        layers=given.get("layer_weights") or "",
        combine=given.get("combine_embeds") or "concat",
        scaling=meaning.scaling or given.get("embeds_scaling") or "V only",
        start=given.get("start_at", 0.0),
        end=given.get("end_at", 1.0),
        mask=given.get("attn_mask"),
        per_frame=per_frame,
        shortcut=given.get("weight_faceidv2", given.get("weight_v2")),
        tokens_weight=given.get("weight_kolors", 1.0),
    )


def _read(bundle: Bundle, given: Mapping[str, Any], way: Numbers) -> References:
    image = given.get("image")
    if image is None:
        return references.of_embeds(bundle, _embeds_of_output(bundle, given.get("clip_vision_output")), None, way)
    look = Look(parts=given.get("enhance_tiles", 1), ratio=given.get("enhance_ratio", 1.0))
    return references.of_pictures(bundle, image, _negative(image, given), way, look)


def _negative(image: Tensor, given: Mapping[str, Any]) -> Tensor | None:
    """The negative picture that is connected, or that the number `noise` of old nodes makes of the picture."""
    noise = given.get("noise", 0.0)
    return noisy_negative(image, noise) if noise else given.get("image_negative")


def _place_composition(model: Any, bundle: Bundle, given: Mapping[str, Any], settings: Settings, way: Numbers) -> Any:
    """The second picture of a node for style and composition, in the layers of the composition."""
    read = _read(bundle, {**given, "image": given["image_composition"]}, way)
    return place(model, bundle.adapter, read, replace(settings, weight=0.0, second=_second(given)), way)


def _second(given: Mapping[str, Any]) -> float:
    weight: Weight = given.get("weight_composition", 1.0)
    return float(weight[0] if isinstance(weight, list) else weight)


def _warn_of_mask(mask: Tensor | None) -> None:
    for notice in of_mask(mask):  # which logs it
        server.show(notice)


def _embeds_of_output(bundle: Bundle, output: Any) -> Tensor:
    """What an adapter reads of a CLIP_VISION_OUTPUT. Raises ValueError where there is none."""
    if output is None:
        raise ValueError("Connect image to a picture: there is nothing that the model could follow.")
    fields = {"hidden": "penultimate_hidden_states", "normed_hidden": NORMED}
    identity = bundle.adapter.identity
    found = getattr(output, fields.get(identity.variant.reads[0], "image_embeds"), None)
    if not isinstance(found, Tensor):
        raise ValueError(
            f"Encode the picture with {identity.encoder}, loaded by Load CLIP Vision (OpenCLIP); the connected output "
            f"has nothing that {bundle.adapter.name} reads."
        )
    return found
