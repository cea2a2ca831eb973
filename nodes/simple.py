"""The nodes that do everything: a model and pictures in, a model that follows the pictures out."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from ..ip_adapter_core.settings.layer_weights import TYPES
from .apply import Apply, mask_input, span_inputs, weight_input
from .encode import Encode, fit_input
from .layer_weights import LayerWeights
from .load import AutoLoad, kind_input
from .node import Node
from .sockets import schema

_ALL_LAYERS = "linear"


class Simple(Node):
    """MODEL + image + weight -> MODEL, by way of the other nodes, so that each of their results is cached."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Simple",
            "IP-Adapter",
            "Prompt a model with a picture. Finds the adapter and the encoder that fit the model by itself.",
            inputs=[
                io.Model.Input("model", raw_link=True, tooltip="The model to prompt."),
                io.Image.Input("image", raw_link=True, tooltip="One or more reference images."),
                weight_input(),
                *span_inputs(),
                kind_input(),
                fit_input(),
                io.Combo.Input(
                    "weight_type",
                    optional=True,
                    options=list(TYPES),
                    default=_ALL_LAYERS,
                    tooltip="Which layers follow. linear: all alike. style transfer: only the style of the picture. "
                    "composition: only its layout. Layer Weights shows a picture of each type.",
                ),
                mask_input(raw_link=True),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the image prompt.")],
            aliases=["ipadapter", "ip-adapter", "ipadapter simple", "image prompt"],
            enable_expand=True,
        )

    @classmethod
    def execute(
        cls,
        model: list,
        image: list,
        weight: float,
        start: float,
        end: float,
        unit: str,
        kind: str,
        fit: str,
        weight_type: str = _ALL_LAYERS,
        mask: list | None = None,
    ) -> io.NodeOutput:
        chain = _Chain(model, kind, fit, {"start": start, "end": end, "unit": unit})
        chain.add(image, weight, weight_type, mask)
        return io.NodeOutput(chain.model, expand=chain.graph.finalize())


class StyleComposition(Node):
    """MODEL + a picture for the style + one for the composition -> MODEL, by way of the other nodes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_StyleComposition",
            "Style and Composition",
            "The style of one picture and the composition of another. Finds the adapter and the encoder by itself.",
            inputs=[
                io.Model.Input("model", raw_link=True, tooltip="The model to prompt."),
                io.Image.Input("style_image", raw_link=True, tooltip="Where colours, light and brushwork come from."),
                io.Image.Input("composition_image", raw_link=True, tooltip="Where things are and how they stand."),
                weight_input("style_weight", "how strongly the style acts"),
                weight_input("composition_weight", "how strongly the composition acts"),
                *span_inputs(),
                kind_input(),
                fit_input(),
                io.Boolean.Input(
                    "strong_style",
                    default=False,
                    advanced=True,
                    tooltip="Take the style in all layers that the composition leaves, not only in those known for it.",
                ),
                mask_input(raw_link=True),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with both image prompts.")],
            aliases=["ipadapter sdxl batch style & composition", "instantstyle", "style transfer", "layout"],
            enable_expand=True,
        )

    @classmethod
    def execute(
        cls,
        model: list,
        style_image: list,
        composition_image: list,
        style_weight: float,
        composition_weight: float,
        start: float,
        end: float,
        unit: str,
        kind: str,
        fit: str,
        strong_style: bool,
        mask: list | None = None,
    ) -> io.NodeOutput:
        chain = _Chain(model, kind, fit, {"start": start, "end": end, "unit": unit})
        chain.add(style_image, style_weight, "strong style transfer" if strong_style else "style transfer", mask)
        chain.add(composition_image, composition_weight, "composition", mask)
        return io.NodeOutput(chain.model, expand=chain.graph.finalize())


class _Chain:
    """The nodes that stand for one: a loader for the model, then an encoder and an application for each picture."""

    def __init__(self, model: list, kind: str, fit: str, span: dict[str, Any]) -> None:
        self.graph, self.model = GraphBuilder(), model
        self._fit, self._span = fit, span
        self._found = self._node(AutoLoad, model=model, kind=kind)

    def add(self, image: list, weight: float, weight_type: str, mask: list | None) -> None:
        """One more picture that the model follows."""
        loaded = {"ip_adapter": self._found.out(0), "clip_vision": self._found.out(1)}
        encoded = self._node(Encode, **loaded, image=image, fit=self._fit)
        more: dict[str, Any] = {} if mask is None else {"mask": mask}
        if weight_type != _ALL_LAYERS:
            types = {"weight_type": weight_type, "weight": 1.0, "second_weight": 1.0, "custom": ""}
            more["layer_weights"] = self._node(LayerWeights, **types).out(0)
        inputs = {"model": self.model, "image_prompt": encoded.out(0), "weight": weight, **self._span, **more}
        self.model = self._node(Apply, **inputs).out(0)

    def _node(self, node: type[io.ComfyNode], **inputs: Any) -> Any:
        return self.graph.node(node.GET_SCHEMA().node_id, **inputs)
