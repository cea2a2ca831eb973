"""The node that spreads the weight of an image prompt over the model's layers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_adapter_core.layers.layout import Layer
from ..ip_adapter_core.plots import layer_bars
from ..ip_adapter_core.settings import layer_weights
from ..ip_adapter_core.settings.layer_weights import MERGE_MODES, TYPES, from_weight_type, merge_weights
from ..ip_adapter_core.settings.weight_list import CUSTOM, custom
from .host import models
from .host.pictures import to_image
from .node import Node
from .sockets import LayerWeights as Socket
from .sockets import schema


class LayerWeights(Node):
    """A weight type or a list, and two numbers -> LAYER_WEIGHTS, and a picture of them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_LayerWeights",
            "Layer Weights",
            "Spread the weight of an image prompt over the model's layers: only its style, only its composition, or "
            "as you write it. Shows what every layer gets.",
            inputs=[
                io.Combo.Input(
                    "weight_type",
                    options=[*TYPES, CUSTOM],
                    default="style transfer",
                    tooltip="How the weight spreads over the layers; the picture shows it. style transfer leaves the "
                    "composition to the text, composition takes nothing else. precise types also push what they leave "
                    "out away. custom list: as the text below says.",
                ),
                _number("weight", "What the weight of Apply Image Prompt is multiplied by."),
                _number(
                    "second_weight",
                    "For types with two parts: of the composition in the types named style and composition (or "
                    "layout), of what is pushed away in the precise ones. Multiplied by the weight of Apply Image "
                    "Prompt too; IPAdapter Plus takes its two weights as they are.",
                ),
                io.String.Input(
                    "custom",
                    multiline=True,
                    default="style = 1, composition = 0.3",
                    tooltip="For custom list: names and weights, such as output.1 = 1, input = 0.2. Names are blocks "
                    "(output.1, or output.1.3 for one of its transformers), stages (input, middle, output), style, "
                    "composition, all, or numbers from 0 in running order (4, 0-3). Later entries win; what is not "
                    "named gets nothing; # begins a comment.",
                ),
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="To see the weights on its layers, and to find names that it lacks now. Without it the "
                    "picture shows SD1.5 and SDXL.",
                ),
                Socket.Input(
                    "combine_with", optional=True, tooltip="Other layer weights, to combine with these layer by layer."
                ),
                io.Combo.Input(
                    "combine",
                    options=list(MERGE_MODES),
                    default="multiply",
                    optional=True,
                    advanced=True,
                    tooltip="How the connected layer weights and these make one.",
                ),
            ],
            outputs=[
                Socket.Output(display_name="layer_weights", tooltip="For Apply Image Prompt."),
                io.Image.Output(display_name="picture", tooltip="What every layer gets, in running order."),
            ],
            aliases=[
                "weight type",
                "style transfer",
                "instantstyle",
                "block weights",
                "mad scientist ipadapter",
                "precise style transfer batch ipadapter",
                "precise composition batch ipadapter",
            ],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls,
        weight_type: str,
        weight: float,
        second_weight: float,
        custom: str,
        model: Any | None = None,
        combine_with: layer_weights.LayerWeights | None = None,
        combine: str = "multiply",
    ) -> io.NodeOutput:
        chosen = _weights(weight_type, weight, second_weight, custom)
        if combine_with is not None:
            chosen = merge_weights(combine, combine_with, chosen)
        picture = _picture(chosen, model)
        return io.NodeOutput(chosen, picture, ui=ui.PreviewImage(picture, cls=cls))


def _weights(weight_type: str, weight: float, second: float, text: str) -> layer_weights.LayerWeights:
    return custom(text, weight) if weight_type == CUSTOM else from_weight_type(weight_type, weight, second)


def _picture(chosen: layer_weights.LayerWeights, model: Any | None) -> Tensor:
    """On the model, or on those that people mostly have, (1, height, width, 3). Raises ValueError for a poor fit."""
    on = layer_bars.EXAMPLES if model is None else {models.family(model): _layers(chosen, model)}
    return to_image(layer_bars.draw(chosen, on))


def _layers(chosen: layer_weights.LayerWeights, model: Any) -> tuple[Layer, ...]:
    """The layers of the model that the weights name: adapters of several authors may have others.

    Raises ValueError where they fit none of them.
    """
    usual, *others = models.layers_of_all(model)
    for layers in (usual, *others):
        with suppress(ValueError):
            chosen.per_layer(layers)
            return layers
    chosen.per_layer(usual)
    return usual


def _number(name: str, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=1.0, min=-5.0, max=5.0, step=0.05, tooltip=tooltip)
