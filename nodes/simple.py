"""The nodes that do everything: a model and pictures in, a model that follows the pictures out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor, cat

from ..ip_adapter_core.attention.application import ApplyOptions
from ..ip_adapter_core.attention.balance import OFF
from ..ip_adapter_core.catalogue.choose import ANY, OF_FACES
from ..ip_adapter_core.settings.layer_weights import TYPES, from_weight_type
from ..ip_adapter_core.settings.span import TIME_UNITS, Span
from ..ip_adapter_core.vision.preprocess import FITS
from ..ip_adapter_core.vision.reference_mask import is_partly_read
from .apply import balance_input, mask_input, span_inputs, weight_input
from .encode import fit_input, reference_mask_input
from .host import files, readings
from .host.readings import Reading
from .host.sampling import model_patch
from .load import kind_input
from .node import Node
from .notices import of_mask, of_pictures, of_reference_mask, of_span, of_use, of_weight, with_notices
from .preview import preview
from .sockets import schema

_ALL_LAYERS = "linear"


class Simple(Node):
    """MODEL + image + weight -> MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Simple",
            "IP-Adapter",
            "Prompt a model with a picture. Finds the adapter and the encoder that fit the model by itself, and shows "
            "which, and the picture as the encoder sees it.",
            inputs=[
                io.Model.Input("model", tooltip="The model to prompt. It is not changed; a patched copy comes out."),
                io.Image.Input("image", tooltip="One or more reference images."),
                weight_input(),
                *span_inputs(),
                kind_input(of_pictures=True),
                fit_input(optional=True),
                io.Combo.Input(
                    "weight_type",
                    optional=True,
                    options=list(TYPES),
                    default=_ALL_LAYERS,
                    tooltip="Which layers follow. linear: all alike. style transfer: only the style of the picture. "
                    "composition: only its layout. Layer Weights shows a picture of each type.",
                ),
                mask_input(),
                reference_mask_input("image"),
                balance_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the image prompt.")],
            aliases=["ipadapter", "ip-adapter", "ipadapter simple", "image prompt"],
            has_intermediate_output=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: object) -> object:
        return files.fingerprints()

    @classmethod
    def execute(
        cls,
        model: Any,
        image: Tensor,
        weight: float,
        start: float,
        end: float,
        unit: str = TIME_UNITS[0],
        kind: str = ANY,
        fit: str = FITS[0],
        weight_type: str = _ALL_LAYERS,
        mask: Tensor | None = None,
        reference_mask: Tensor | None = None,
        balance: str = OFF,
    ) -> io.NodeOutput:
        reading = _read(model, image, kind, fit, reference_mask)
        use = ApplyOptions(weight, Span(start, end, unit), mask=mask, balance=balance)
        patched = _apply(model, reading, weight_type, use)
        left_out = of_reference_mask(reading.found.adapter.identity, is_partly_read(image, reference_mask))
        return io.NodeOutput(patched, ui=_said(cls, [reading], [*of_pictures(image), *of_use(use), *left_out]))


class StyleComposition(Node):
    """MODEL + a picture for the style + one for the composition -> MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_StyleComposition",
            "Style and Composition",
            "The style of one picture and the composition of another. Finds the adapter and the encoder by itself, and "
            "shows which, and both pictures as the encoder sees them.",
            inputs=[
                io.Model.Input("model", tooltip="The model to prompt. It is not changed; a patched copy comes out."),
                io.Image.Input("style_image", tooltip="Where colours, light and brushwork come from."),
                io.Image.Input("composition_image", tooltip="Where things are and how they stand."),
                weight_input("style_weight", "how strongly the style acts"),
                weight_input("composition_weight", "how strongly the composition acts"),
                *span_inputs(),
                kind_input(of_pictures=True),
                fit_input(optional=True),
                io.Boolean.Input(
                    "strong_style",
                    optional=True,
                    default=False,
                    advanced=True,
                    tooltip="Take the style in all layers that the composition leaves, not only in those known for it.",
                ),
                mask_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with both image prompts.")],
            aliases=["ipadapter sdxl batch style & composition", "instantstyle", "style transfer", "layout"],
            has_intermediate_output=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: object) -> object:
        return files.fingerprints()

    @classmethod
    def execute(
        cls,
        model: Any,
        style_image: Tensor,
        composition_image: Tensor,
        style_weight: float,
        composition_weight: float,
        start: float,
        end: float,
        unit: str = TIME_UNITS[0],
        kind: str = ANY,
        fit: str = FITS[0],
        strong_style: bool = False,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        span, style_type = Span(start, end, unit), "strong style transfer" if strong_style else "style transfer"
        style, composition = (_read(model, image, kind, fit) for image in (style_image, composition_image))
        styled = _apply(model, style, style_type, ApplyOptions(style_weight, span, mask=mask))
        both = _apply(styled, composition, "composition", ApplyOptions(composition_weight, span, mask=mask))
        notices = [
            *of_pictures(style_image),
            *of_pictures(composition_image),
            *of_weight(style_weight, "style_weight", "the style image"),
            *of_weight(composition_weight, "composition_weight", "the composition image"),
            *of_span(span),
            *of_mask(mask),
        ]
        return io.NodeOutput(both, ui=_said(cls, [style, composition], list(dict.fromkeys(notices))))


def _read(model: Any, image: Tensor, kind: str, fit: str, mask: Tensor | None = None) -> Reading:
    """What an adapter of a kind reads of pictures, or of parts of them. Raises ValueError for kinds that read faces."""
    if kind in OF_FACES:
        raise ValueError(
            f"Use Face Embedding and Encode Face Prompt, or set kind to {ANY}: adapters of kind {kind} read faces, and "
            "this node reads pictures."
        )
    return readings.read(model, image, kind, fit, mask)


def _apply(model: Any, reading: Reading, weight_type: str, use: ApplyOptions) -> Any:
    return model_patch.apply(model, reading.prompt, replace(use, layer_weights=from_weight_type(weight_type)))


def _said(cls: type[io.ComfyNode], of: list[Reading], notices: list[str]) -> Any:
    """What the node shows: the pictures as the encoder saw them, the files, and the notices."""
    seen = cat([reading.seen for reading in of])
    return with_notices([of[0].found.report, *notices], preview(seen, cls))
