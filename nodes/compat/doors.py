"""TABLE of what stands behind each old id: the method that graphs and other packs call, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from ...ip_adapter_core.compat.signatures import OLD_ENCODER, OTHER_IPADAPTER
from . import applying, embeds, frames, instantid, loading, pictures, regions, tiled
from .other_shapes import apply_other

Door = Callable[..., tuple[Any, ...]]
"""What a node does: inputs by name -> outputs in order."""


class Behaviour(NamedTuple):
    """What stands behind an id.

    method: its name on the node's class, which other packs call.
    run: the inputs by name -> the outputs.
    arguments: names of the method's arguments in order, where they are not the inputs in order. Some are inputs of
    other nodes with the same method, which in the old pack took all of them, as other packs know.
    has_numbers: whether the node's numbers may be those of the old pack, so that it has a row for it.
    """

    method: str
    run: Door
    arguments: tuple[str, ...] = ()
    has_numbers: bool = False


_LOADED = ("model", "preset", "lora_strength", "provider", "ipadapter")
_ADVANCED = (
    "model", "ipadapter", "start_at", "end_at", "weight", "weight_style", "weight_composition", "expand_style",
    "weight_type", "combine_embeds", "weight_faceidv2", "image", "image_style", "image_composition", "image_negative",
    "clip_vision", "attn_mask", "insightface", "embeds_scaling", "layer_weights", "ipadapter_params",
    "encode_batch_size", "style_boost", "composition_boost", "enhance_tiles", "enhance_ratio", "weight_kolors",
)  # fmt: skip
_IN_TILES = (
    "model", "ipadapter", "image", "weight", "weight_type", "start_at", "end_at", "sharpening", "combine_embeds",
    "image_negative", "attn_mask", "clip_vision", "embeds_scaling", "encode_batch_size",
)  # fmt: skip
_OF_EMBEDS = (
    "model", "ipadapter", "pos_embed", "weight", "weight_type", "start_at", "end_at", "neg_embed", "attn_mask",
    "clip_vision", "embeds_scaling",
)  # fmt: skip
_SIMPLE = Behaviour("apply_ipadapter", applying.apply_ipadapter, has_numbers=True)
_APPLY = _SIMPLE._replace(arguments=_ADVANCED)
_APPLY_FRAMES = _APPLY._replace(run=partial(applying.apply_ipadapter, per_frame=True))
_APPLY_OLD = _SIMPLE._replace(run=partial(applying.apply_ipadapter, old_words=True))
_TILED = Behaviour("apply_tiled", tiled.apply_tiled, _IN_TILES, has_numbers=True)
_EMBEDS = Behaviour("apply_ipadapter", applying.apply_embeds, _OF_EMBEDS, has_numbers=True)
_LOAD = Behaviour("load_models", loading.load_models, _LOADED)
_FACES = Behaviour("load_insightface", loading.load_insightface)
_PREP = Behaviour("prep_image", pictures.prepare)

BEHAVIOURS: Mapping[str, Behaviour] = MappingProxyType(
    {
        "IPAdapter": _SIMPLE,
        "IPAdapterAdvanced": _APPLY,
        "IPAdapterBatch": _APPLY_FRAMES,
        "IPAdapterFaceID": _APPLY,
        "IPAdapterFaceIDKolors": _APPLY,
        "IPAAdapterFaceIDBatch": _APPLY_FRAMES,
        "IPAdapterTiled": _TILED,
        "IPAdapterTiledBatch": _TILED._replace(run=partial(tiled.apply_tiled, per_frame=True)),
        "IPAdapterEmbeds": _EMBEDS,
        "IPAdapterEmbedsBatch": _EMBEDS._replace(run=partial(applying.apply_embeds, per_frame=True)),
        "IPAdapterStyleComposition": _APPLY,
        "IPAdapterStyleCompositionBatch": _APPLY_FRAMES,
        "IPAdapterMS": _APPLY,
        "IPAdapterClipVisionEnhancer": _APPLY,
        "IPAdapterClipVisionEnhancerBatch": _APPLY_FRAMES,
        "IPAdapterFromParams": _APPLY,
        "IPAdapterPreciseStyleTransfer": _APPLY,
        "IPAdapterPreciseStyleTransferBatch": _APPLY_FRAMES,
        "IPAdapterPreciseComposition": _APPLY,
        "IPAdapterPreciseCompositionBatch": _APPLY_FRAMES,
        "IPAdapterUnifiedLoader": _LOAD,
        "IPAdapterUnifiedLoaderFaceID": _LOAD,
        "IPAdapterUnifiedLoaderCommunity": _LOAD,
        "IPAdapterModelLoader": Behaviour("load_ipadapter_model", loading.load_ipadapter_model),
        "IPAdapterInsightFaceLoader": _FACES,
        "IPAdapterEncoder": Behaviour("encode", embeds.encode, has_numbers=True),
        "IPAdapterCombineEmbeds": Behaviour("batch", embeds.batch, has_numbers=True),
        "IPAdapterNoise": Behaviour("make_noise", pictures.make_noise),
        "PrepImageForClipVision": _PREP,
        "IPAdapterSaveEmbeds": Behaviour("save", embeds.save),
        "IPAdapterLoadEmbeds": Behaviour("load", embeds.load),
        "IPAdapterWeights": Behaviour("weights", frames.weights),
        "IPAdapterCombineWeights": Behaviour("combine", frames.combine),
        "IPAdapterWeightsFromStrategy": Behaviour("weights", frames.weights),
        "IPAdapterPromptScheduleFromWeightsStrategy": Behaviour("prompt_schedule", frames.prompt_schedule),
        "IPAdapterRegionalConditioning": Behaviour("conditioning", regions.conditioning),
        "IPAdapterCombineParams": Behaviour("combine", regions.combine),
        "IPAdapterApply": _APPLY_OLD,
        "IPAdapterCLIPVisionEncode": Behaviour("encode", pictures.encode_vision),
        "IPAdapterApplyEncoded": _EMBEDS._replace(run=partial(applying.apply_embeds, old_words=True), arguments=()),
        "IPAdapterBatchEmbeds": Behaviour("batch", embeds.batch_old),
        "InsightFaceLoader": _FACES._replace(method="load_insight_face"),
        "PrepImageForInsightFace": _PREP._replace(run=pictures.prepare_for_faces),
        "IPAdapterApplyFaceID": _APPLY_OLD,
        "IPAdapterTilesMasked": _APPLY_OLD._replace(run=tiled.apply_masked),
        OLD_ENCODER: Behaviour("preprocess", embeds.preprocess),
        OTHER_IPADAPTER: Behaviour("load_ip_adapter", apply_other, has_numbers=True),
    }
)

_WHOLE = (
    "instantid", "insightface", "control_net", "image", "model", "positive", "negative", "start_at", "end_at",
    "weight", "ip_weight", "cn_strength", "noise", "image_kps", "mask", "combine_embeds",
)  # fmt: skip
_WHOLE_INSTANTID = Behaviour("apply_instantid", instantid.apply_whole, _WHOLE)

OF_INSTANTID: Mapping[str, Behaviour] = MappingProxyType(
    {
        "InstantIDModelLoader": Behaviour("load_model", instantid.load_model),
        "InstantIDFaceAnalysis": Behaviour("load_insight_face", instantid.load_faces),
        "ApplyInstantID": _WHOLE_INSTANTID,
        "ApplyInstantIDAdvanced": _WHOLE_INSTANTID,
        "FaceKeypointsPreprocessor": Behaviour("preprocess_image", instantid.draw_key_points),
        "InstantIDAttentionPatch": Behaviour("patch_attention", instantid.patch_attention),
        "ApplyInstantIDControlNet": Behaviour("apply_controlnet", instantid.apply_control),
    }
)
