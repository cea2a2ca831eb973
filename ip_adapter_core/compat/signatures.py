"""TABLE of the nodes of IPAdapter Plus: their ids, inputs and outputs, in that pack's order and words.

Inputs are in the order of the pack: first those that it requires, then the optional ones; values of saved graphs are in
the order of the widgets among them. Source: its node definitions over time, and graphs that people shared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .words import COMBINES, OLD_WEIGHT_TYPES, SCALINGS, SIMPLE_TYPES, WEIGHT_TYPES

MENU = "COMBO"
WIDGETS = (MENU, "FLOAT", "INT", "BOOLEAN", "STRING")
"""Types that hold a value on the node itself."""

_LATE = ("embeds_scaling", "model_name")
"""Widgets that were added to nodes that existed already; and all that stand behind them."""


class Input(NamedTuple):
    """An input of an old node.

    type: of its socket, or one of WIDGETS.
    default: of a widget.
    limits: least and most of a number, and its step.
    options: of a menu; None where the files on disk are the menu.
    optional: whether it may be left empty.
    """

    name: str
    type: str
    default: Any = None
    limits: tuple[float, float, float] | None = None
    options: tuple[str, ...] | None = None
    optional: bool = False

    @property
    def of_files(self) -> bool:
        """Whether it is a menu of the files on disk."""
        return self.type == MENU and self.options is None

    @property
    def is_widget(self) -> bool:
        """Whether a value of the node is saved for it."""
        return self.type in WIDGETS


class Output(NamedTuple):
    """An output of an old node."""

    name: str
    type: str


@dataclass(frozen=True)
class Signature:
    """A node of the old pack: a row of SIGNATURES.

    name: as people saw it.
    inputs: the required ones, then the optional ones.
    saves: whether it writes files, and so runs without anything behind it.
    before_version_2: whether version 2 of the pack removed it.
    """

    name: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    saves: bool = False
    before_version_2: bool = False

    @property
    def widgets(self) -> tuple[Input, ...]:
        """The inputs whose values a saved graph lists, in its order."""
        return tuple(given for given in self.inputs if given.is_widget)

    @property
    def late(self) -> tuple[str, ...]:
        """Widgets that came later than the node, all at its end: programs and graphs of other times lack them."""
        names = [given.name for given in self.widgets if not given.of_files]
        first = next((number for number, name in enumerate(names) if name in _LATE), len(names))
        return tuple(names[1 if self.before_version_2 else first :])

    def input(self, name: str) -> Input | None:
        """The input of this name, if there is one."""
        return next((given for given in self.inputs if given.name == name), None)


def _menu(name: str, options: tuple[str, ...] | None, default: str | None = None) -> Input:
    return Input(name, MENU, default or (options[0] if options else None), None, options)


def _float(name: str, default: float, least: float, most: float, step: float = 0.05) -> Input:
    return Input(name, "FLOAT", default, (least, most, step))


def _int(name: str, default: int, least: int, most: int) -> Input:
    return Input(name, "INT", default, (least, most, 1))


def _flag(name: str, default: bool = False) -> Input:
    return Input(name, "BOOLEAN", default)


def _sockets(text: str, optional: bool = False) -> tuple[Input, ...]:
    """Sockets of `name:TYPE, …`."""
    pairs = (piece.split(":") for piece in text.split(", "))
    return tuple(Input(name, kind, optional=optional) for name, kind in pairs)


def _outputs(text: str) -> tuple[Output, ...]:
    pairs = (piece.split(":") for piece in text.split(", ") if piece)
    return tuple(Output(name, kind) for name, kind in pairs)


def _weight(most: float = 5.0, name: str = "weight", default: float = 1.0) -> Input:
    return _float(name, default, -1.0, most)


_APPLIED = _sockets("model:MODEL, ipadapter:IPADAPTER")
_PICTURED = (*_APPLIED, *_sockets("image:IMAGE"))
_TYPE, _COMBINE, _SCALING = (
    _menu("weight_type", WEIGHT_TYPES),
    _menu("combine_embeds", COMBINES),
    _menu("embeds_scaling", SCALINGS),
)
_START, _END = _float("start_at", 0.0, 0.0, 1.0, 0.001), _float("end_at", 1.0, 0.0, 1.0, 0.001)
_BATCH_SIZE = _int("encode_batch_size", 0, 0, 4096)
_OPTIONAL = _sockets("image_negative:IMAGE, attn_mask:MASK, clip_vision:CLIP_VISION", optional=True)
_MASK = _sockets("attn_mask:MASK", optional=True)
_FACES = (*_OPTIONAL, *_sockets("insightface:INSIGHTFACE", optional=True))
_MODEL, _FACE_OUT = _outputs("MODEL:MODEL"), _outputs("MODEL:MODEL, face_image:IMAGE")
_TILED_OUT = _outputs("MODEL:MODEL, tiles:IMAGE, masks:MASK")
_V2 = _float("weight_faceidv2", 1.0, -1.0, 5.0)
_SHARPENING = _float("sharpening", 0.0, 0.0, 1.0)


def _apply(
    name: str,
    *widgets: Input,
    sockets: tuple[Input, ...] = _PICTURED,
    more: tuple[Input, ...] = _OPTIONAL,
    outputs: tuple[Output, ...] = _MODEL,
) -> Signature:
    return Signature(name, (*sockets, *widgets, *more), outputs)


def _boosted(name: str, boost: Input) -> Signature:
    return _apply(name, _weight(), boost, _COMBINE, _START, _END, _SCALING)


def _faces(name: str, *before: Input) -> Signature:
    widgets = (_weight(3.0), _V2, *before, _TYPE, _COMBINE, _START, _END, _SCALING)
    return _apply(name, *widgets, more=_FACES, outputs=_FACE_OUT)


def _embeds(name: str) -> Signature:
    more = _sockets("neg_embed:EMBEDS, attn_mask:MASK, clip_vision:CLIP_VISION", optional=True)
    sockets = (*_APPLIED, *_sockets("pos_embed:EMBEDS"))
    return _apply(name, _weight(3.0), _TYPE, _START, _END, _SCALING, sockets=sockets, more=more)


def _two_images(name: str, *combine: Input) -> Signature:
    weights = (_weight(name="weight_style"), _weight(name="weight_composition"), _flag("expand_style"))
    sockets = (*_APPLIED, *_sockets("image_style:IMAGE, image_composition:IMAGE"))
    return _apply(name, *weights, *combine, _START, _END, _SCALING, sockets=sockets)


def _enhanced(name: str, ratio: float, *before: Input, after: Iterable[Input] = ()) -> Signature:
    enhance = (_int("enhance_tiles", 2, 1, 16), _float("enhance_ratio", ratio, 0.0, 1.0))
    return _apply(name, _weight(), _TYPE, *before, _START, _END, _SCALING, *enhance, *after)


def _unified(name: str, presets: tuple[str, ...], model: str, *more: Input) -> Signature:
    inputs = (*_sockets("model:MODEL"), _menu("preset", presets), *more)
    chained = _sockets("ipadapter:IPADAPTER", optional=True)
    return Signature(name, (*inputs, *chained), _outputs(f"{model}:MODEL, ipadapter:IPADAPTER"))


PLAIN_PRESETS = (
    "LIGHT - SD1.5 only (low strength)", "STANDARD (medium strength)", "VIT-G (medium strength)",
    "PLUS (high strength)", "PLUS FACE (portraits)", "FULL FACE - SD1.5 only (portraits stronger)",
)  # fmt: skip
FACE_PRESETS = (
    "FACEID", "FACEID PLUS - SD1.5 only", "FACEID PLUS V2", "FACEID PORTRAIT (style transfer)",
    "FACEID PORTRAIT UNNORM - SDXL only (strong)",
)  # fmt: skip
COMMUNITY_PRESETS = ("Composition", "Kolors")
_PROVIDERS = ("CPU", "CUDA", "ROCM", "DirectML", "OpenVINO", "CoreML")
_TIMINGS = ("custom", "linear", "ease_in_out", "ease_in", "ease_out", "random")
_METHODS = ("full batch", "shift batches", "alternate batches")
_FRAMES = tuple(
    _int(name, 9999 if name == "end_frame" else 0, 0, 9999)
    for name in ("frames", "start_frame", "end_frame", "add_starting_frames", "add_ending_frames")
)
_WEIGHTS_OUT = _outputs(
    "weights:FLOAT, weights_invert:FLOAT, total_frames:INT, image_1:IMAGE, image_2:IMAGE, "
    "weights_strategy:WEIGHTS_STRATEGY"
)
_OLD_APPLIED = _sockets("ipadapter:IPADAPTER, clip_vision:CLIP_VISION, image:IMAGE, model:MODEL")
_OLD_FACES = _sockets("ipadapter:IPADAPTER, clip_vision:CLIP_VISION, insightface:INSIGHTFACE, image:IMAGE, model:MODEL")
_OLD_TYPE, _NOISE, _UNFOLD = (
    _menu("weight_type", OLD_WEIGHT_TYPES),
    _float("noise", 0.0, 0.0, 1.0, 0.01),
    _flag("unfold_batch"),
)
_REFERENCE_WEIGHTS = tuple(_float(f"weight_{number}", 1.0, 0.0, 1.0, 0.01) for number in (1, 2, 3, 4))
_BUNDLE = _outputs("IPADAPTER_PARAMS:IPADAPTER_PARAMS")
_COMBINED = tuple(Input(f"embed{number}", "EMBEDS", optional=True) for number in range(2, 6))

OF_VERSION_2: dict[str, Signature] = {
    "IPAdapter": _apply("IPAdapter", _weight(3.0), _START, _END, _menu("weight_type", SIMPLE_TYPES), more=_MASK),
    "IPAdapterAdvanced": _apply("IPAdapter Advanced", _weight(), _TYPE, _COMBINE, _START, _END, _SCALING),
    "IPAdapterBatch": _apply("IPAdapter Batch (Adv.)", _weight(), _TYPE, _START, _END, _SCALING, _BATCH_SIZE),
    "IPAdapterFaceID": _faces("IPAdapter FaceID"),
    "IPAdapterFaceIDKolors": _faces("IPAdapter FaceID Kolors", _float("weight_kolors", 1.0, -1.0, 5.0)),
    "IPAAdapterFaceIDBatch": _faces("IPAdapter FaceID Batch"),
    "IPAdapterTiled": _apply(
        "IPAdapter Tiled", _weight(3.0), _TYPE, _COMBINE, _START, _END, _SHARPENING, _SCALING, outputs=_TILED_OUT
    ),
    "IPAdapterTiledBatch": _apply(
        "IPAdapter Tiled Batch",
        _weight(3.0),
        _TYPE,
        _START,
        _END,
        _SHARPENING,
        _SCALING,
        _BATCH_SIZE,
        outputs=_TILED_OUT,
    ),
    "IPAdapterEmbeds": _embeds("IPAdapter Embeds"),
    "IPAdapterEmbedsBatch": _embeds("IPAdapter Embeds Batch"),
    "IPAdapterStyleComposition": _two_images(
        "IPAdapter Style & Composition SDXL", _menu("combine_embeds", COMBINES, "average")
    ),
    "IPAdapterStyleCompositionBatch": _two_images("IPAdapter Style & Composition Batch SDXL"),
    "IPAdapterMS": _apply(
        "IPAdapter Mad Scientist",
        _weight(),
        _V2,
        _TYPE,
        _COMBINE,
        _START,
        _END,
        _SCALING,
        Input("layer_weights", "STRING", ""),
        more=_FACES,
    ),
    "IPAdapterClipVisionEnhancer": _enhanced("IPAdapter ClipVision Enhancer", 1.0, _COMBINE),
    "IPAdapterClipVisionEnhancerBatch": _enhanced("IPAdapter ClipVision Enhancer Batch", 0.5, after=(_BATCH_SIZE,)),
    "IPAdapterFromParams": _apply(
        "IPAdapter from Params",
        _COMBINE,
        _SCALING,
        sockets=(*_APPLIED, *_sockets("ipadapter_params:IPADAPTER_PARAMS")),
        more=_sockets("image_negative:IMAGE, clip_vision:CLIP_VISION", optional=True),
    ),
    "IPAdapterPreciseStyleTransfer": _boosted(
        "IPAdapter Precise Style Transfer", _float("style_boost", 1.0, -5.0, 5.0)
    ),
    "IPAdapterPreciseStyleTransferBatch": _boosted(
        "IPAdapter Precise Style Transfer Batch", _float("style_boost", 1.0, -5.0, 5.0)
    ),
    "IPAdapterPreciseComposition": _boosted(
        "IPAdapter Precise Composition", _float("composition_boost", 0.0, -5.0, 5.0)
    ),
    "IPAdapterPreciseCompositionBatch": _boosted(
        "IPAdapter Precise Composition Batch", _float("composition_boost", 0.0, -5.0, 5.0)
    ),
    "IPAdapterUnifiedLoader": _unified("IPAdapter Unified Loader", PLAIN_PRESETS, "model"),
    "IPAdapterUnifiedLoaderFaceID": _unified(
        "IPAdapter Unified Loader FaceID",
        FACE_PRESETS,
        "MODEL",
        _float("lora_strength", 0.6, 0.0, 1.0, 0.01),
        _menu("provider", _PROVIDERS),
    ),
    "IPAdapterModelLoader": Signature(
        "IPAdapter Model Loader", (_menu("ipadapter_file", None),), _outputs("IPADAPTER:IPADAPTER")
    ),
    "IPAdapterInsightFaceLoader": Signature(
        "IPAdapter InsightFace Loader",
        (_menu("provider", _PROVIDERS[:3]), _menu("model_name", ("buffalo_l", "antelopev2"))),
        _outputs("INSIGHTFACE:INSIGHTFACE"),
    ),
    "IPAdapterUnifiedLoaderCommunity": _unified("IPAdapter Unified Loader Community", COMMUNITY_PRESETS, "model"),
    "IPAdapterEncoder": Signature(
        "IPAdapter Encoder",
        (
            *_sockets("ipadapter:IPADAPTER, image:IMAGE"),
            _float("weight", 1.0, -1.0, 3.0, 0.01),
            *_sockets("mask:MASK, clip_vision:CLIP_VISION", optional=True),
        ),
        _outputs("pos_embed:EMBEDS, neg_embed:EMBEDS"),
    ),
    "IPAdapterCombineEmbeds": Signature(
        "IPAdapter Combine Embeds",
        (*_sockets("embed1:EMBEDS"), _menu("method", (*COMBINES, "max", "min")), *_COMBINED),
        _outputs("EMBEDS:EMBEDS"),
    ),
    "IPAdapterNoise": Signature(
        "IPAdapter Noise",
        (
            _menu("type", ("fade", "dissolve", "gaussian", "shuffle")),
            _float("strength", 1.0, 0.0, 1.0),
            _int("blur", 0, 0, 32),
            *_sockets("image_optional:IMAGE", optional=True),
        ),
        _outputs("IMAGE:IMAGE"),
    ),
    "PrepImageForClipVision": Signature(
        "Prep Image For ClipVision",
        (
            *_sockets("image:IMAGE"),
            _menu("interpolation", ("LANCZOS", "BICUBIC", "HAMMING", "BILINEAR", "BOX", "NEAREST")),
            _menu("crop_position", ("top", "bottom", "left", "right", "center", "pad")),
            _SHARPENING,
        ),
        _outputs("IMAGE:IMAGE"),
    ),
    "IPAdapterSaveEmbeds": Signature(
        "IPAdapter Save Embeds",
        (*_sockets("embeds:EMBEDS"), Input("filename_prefix", "STRING", "IP_embeds")),
        (),
        saves=True,
    ),
    "IPAdapterLoadEmbeds": Signature("IPAdapter Load Embeds", (_menu("embeds", None),), _outputs("EMBEDS:EMBEDS")),
    "IPAdapterWeights": Signature(
        "IPAdapter Weights",
        (
            Input("weights", "STRING", "1.0, 0.0"),
            _menu("timing", _TIMINGS, "linear"),
            *_FRAMES,
            _menu("method", _METHODS),
            *_sockets("image:IMAGE", optional=True),
        ),
        _WEIGHTS_OUT,
    ),
    "IPAdapterCombineWeights": Signature(
        "IPAdapter Combine Weights",
        (_float("weights_1", 0.0, 0.0, 1.0), _float("weights_2", 0.0, 0.0, 1.0)),
        _outputs("weights:FLOAT, count:INT"),
    ),
    "IPAdapterWeightsFromStrategy": Signature(
        "IPAdapter Weights From Strategy",
        (*_sockets("weights_strategy:WEIGHTS_STRATEGY"), *_sockets("image:IMAGE", optional=True)),
        _WEIGHTS_OUT,
    ),
    "IPAdapterPromptScheduleFromWeightsStrategy": Signature(
        "Prompt Schedule From Weights Strategy",
        (*_sockets("weights_strategy:WEIGHTS_STRATEGY"), Input("prompt", "STRING", "")),
        _outputs("prompt_schedule:STRING"),
    ),
    "IPAdapterRegionalConditioning": Signature(
        "IPAdapter Regional Conditioning",
        (
            *_sockets("image:IMAGE"),
            _weight(3.0, "image_weight"),
            _float("prompt_weight", 1.0, 0.0, 10.0),
            _TYPE,
            _START,
            _END,
            *_sockets("mask:MASK, positive:CONDITIONING, negative:CONDITIONING", optional=True),
        ),
        (*_BUNDLE, *_outputs("POSITIVE:CONDITIONING, NEGATIVE:CONDITIONING")),
    ),
    "IPAdapterCombineParams": Signature(
        "IPAdapter Combine Params",
        (
            *_sockets("params_1:IPADAPTER_PARAMS, params_2:IPADAPTER_PARAMS"),
            *(Input(f"params_{number}", "IPADAPTER_PARAMS", optional=True) for number in (3, 4, 5)),
        ),
        _BUNDLE,
    ),
}

_OF_VERSION_1: dict[str, Signature] = {
    "IPAdapterApply": _apply(
        "Apply IPAdapter",
        _weight(3.0),
        _NOISE,
        _OLD_TYPE,
        _START,
        _END,
        _UNFOLD,
        sockets=_OLD_APPLIED,
        more=(*_MASK, *_sockets("insightface:INSIGHTFACE, clip_vision_output:CLIP_VISION_OUTPUT", optional=True)),
    ),
    "IPAdapterCLIPVisionEncode": Signature(
        "Encode IPAdapter Image",
        _sockets("clip_vision:CLIP_VISION, image:IMAGE"),
        _outputs("CLIP_VISION_OUTPUT:CLIP_VISION_OUTPUT"),
    ),
    "IPAdapterApplyEncoded": _apply(
        "Apply IPAdapter from Encoded",
        _weight(3.0),
        _OLD_TYPE,
        _START,
        _END,
        _UNFOLD,
        more=_MASK,
        sockets=_sockets("ipadapter:IPADAPTER, embeds:EMBEDS, model:MODEL"),
    ),
    "IPAdapterBatchEmbeds": Signature(
        "IPAdapter Batch Embeds", _sockets("embed1:EMBEDS, embed2:EMBEDS"), _outputs("EMBEDS:EMBEDS")
    ),
    "InsightFaceLoader": Signature(
        "Load InsightFace", (_menu("provider", _PROVIDERS[:3]),), _outputs("INSIGHTFACE:INSIGHTFACE")
    ),
    "PrepImageForInsightFace": Signature(
        "Prepare Image For InsightFace",
        (
            *_sockets("image:IMAGE"),
            _menu("crop_position", ("center", "top", "bottom", "left", "right")),
            _SHARPENING,
            _flag("pad_around", True),
        ),
        _outputs("IMAGE:IMAGE"),
    ),
    "IPAdapterApplyFaceID": _apply(
        "Apply IPAdapter FaceID",
        _weight(3.0),
        _NOISE,
        _OLD_TYPE,
        _START,
        _END,
        _flag("faceid_v2"),
        _float("weight_v2", 1.0, -1.0, 3.0),
        _UNFOLD,
        sockets=_OLD_FACES,
        more=_MASK,
    ),
    "IPAdapterTilesMasked": _apply(
        "IPAdapter Masked Tiles (experimental)",
        _weight(3.0, default=0.7),
        _NOISE,
        _OLD_TYPE,
        _START,
        _END,
        _int("short_side_tiles", 1, 0, 12),
        _float("tile_weight", 0.6, 0.0, 1.0),
        sockets=_OLD_APPLIED,
        more=(),
    ),
}

OLD_ENCODER, OTHER_IPADAPTER = "IPAdapterEncoder (before version 2)", "IPAdapter (laksjdjf)"

_OTHER_SHAPES: dict[str, Signature] = {
    OLD_ENCODER: Signature(
        "Encode IPAdapter Image",
        (
            *_sockets("clip_vision:CLIP_VISION, image_1:IMAGE"),
            _flag("ipadapter_plus"),
            _NOISE,
            _REFERENCE_WEIGHTS[0],
            *_sockets("image_2:IMAGE, image_3:IMAGE, image_4:IMAGE", optional=True),
            *(given._replace(optional=True) for given in _REFERENCE_WEIGHTS[1:]),
        ),
        _outputs("EMBEDS:EMBEDS"),
    ),
    OTHER_IPADAPTER: Signature(
        "Load IPAdapter",
        (
            *_sockets("model:MODEL"),
            _weight(3.0),
            _menu("model_name", None),
            _menu("dtype", ("fp16", "fp32")),
            *_sockets(
                "image:IMAGE, clip_vision:CLIP_VISION, mask:MASK, clip_vision_output:CLIP_VISION_OUTPUT", optional=True
            ),
        ),
        _outputs("MODEL:MODEL, CLIP_VISION_OUTPUT:CLIP_VISION_OUTPUT"),
    ),
}


def _early(rows: dict[str, Signature]) -> dict[str, Signature]:
    return {node: replace(row, before_version_2=True) for node, row in rows.items()}


SIGNATURES: dict[str, Signature] = OF_VERSION_2 | _early(_OF_VERSION_1)

OTHER_SHAPES: dict[str, Signature] = _early(_OTHER_SHAPES)
"""Nodes that have an id of SIGNATURES in saved graphs, and other inputs: what they are registered as."""
