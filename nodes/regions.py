"""The nodes for several subjects in one picture: a region for each, and their application."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..ip_adapter_core.attention.application import ApplyOptions
from ..ip_adapter_core.prompts import prompt
from ..ip_adapter_core.settings import layer_weights as weights
from ..ip_adapter_core.settings import places
from ..ip_adapter_core.settings import schedule as curves
from ..ip_adapter_core.settings.places import PLACES, WHOLE
from ..ip_adapter_core.settings.span import TIME_UNITS, Span
from .apply import layer_and_time_inputs, span_inputs, weight_input
from .host import regions as host
from .node import Node
from .notices import of_mask, of_use, with_notices
from .sockets import ImagePrompt, Regions, schema


class Region(Node):
    """IMAGE_PROMPT + mask or place + texts -> one more of IMAGE_PROMPT_REGIONS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Region",
            "Image Prompt Region",
            "One subject of several: its image prompt, its text, and where in the picture both act. Chain one region "
            "for each subject.",
            inputs=[
                ImagePrompt.Input("image_prompt", tooltip="What the subject looks like."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where it is: white. Stretched over the picture, whatever its size. A mask goes before "
                    "place, which counts where none is connected.",
                ),
                weight_input(),
                io.Float.Input(
                    "text_strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How much the region's texts count against those of the whole picture.",
                ),
                *span_inputs(),
                io.Combo.Input(
                    "place",
                    optional=True,
                    options=list(PLACES),
                    default=WHOLE,
                    tooltip="Where it is, if no mask is connected: a part of the picture, whatever its size. Thirds "
                    "are columns (left, middle, right) or rows; centre is the middle half of both sides. A mask that "
                    "is connected goes before it.",
                ),
                io.Conditioning.Input("positive", optional=True, tooltip="What is in this region, in words."),
                io.Conditioning.Input("negative", optional=True, tooltip="What is not in this region."),
                *layer_and_time_inputs(),
                Regions.Input("regions", optional=True, tooltip="The regions before this one."),
            ],
            outputs=[Regions.Output(display_name="regions", tooltip="For the next region, or Apply Regions.")],
            has_intermediate_output=True,
            aliases=["regional conditioning ipadapter", "attention couple", "subjects"],
        )

    @classmethod
    def execute(
        cls,
        image_prompt: prompt.ImagePrompt,
        weight: float,
        text_strength: float,
        start: float,
        end: float,
        unit: str = TIME_UNITS[0],
        place: str = WHOLE,
        mask: Tensor | None = None,
        positive: list[Any] | None = None,
        negative: list[Any] | None = None,
        layer_weights: weights.LayerWeights = weights.LINEAR,
        schedule: curves.Schedule = curves.CONSTANT,
        regions: tuple[host.Region, ...] = (),
    ) -> io.NodeOutput:
        use = ApplyOptions(weight, Span(start, end, unit), layer_weights, schedule).check()
        where = places.mask(place) if mask is None else mask
        region = host.Region(image_prompt, use, where, positive, negative, text_strength)
        return io.NodeOutput((*regions, region), ui=with_notices([*of_use(use), *of_mask(where)]))


class ApplyRegions(Node):
    """MODEL + texts + IMAGE_PROMPT_REGIONS -> MODEL and texts for the sampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_ApplyRegions",
            "Apply Regions",
            "Let the model follow each region's image prompt and texts in its place.",
            inputs=[
                io.Model.Input("model", tooltip="The model to prompt. It is not changed; a patched copy comes out."),
                io.Conditioning.Input("positive", tooltip="What the whole picture shows, in words."),
                io.Conditioning.Input("negative", tooltip="What the whole picture does not show."),
                Regions.Input("regions", tooltip="From Image Prompt Region, the last of the chain."),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with the image prompts."),
                io.Conditioning.Output(display_name="positive", tooltip="The texts of the picture and its regions."),
                io.Conditioning.Output(display_name="negative", tooltip="The same for the negative texts."),
            ],
            aliases=["attention couple", "combine from params ipadapter", "regional conditioning ipadapter"],
        )

    @classmethod
    def execute(
        cls, model: Any, positive: list[Any], negative: list[Any], regions: tuple[host.Region, ...]
    ) -> io.NodeOutput:
        prompted = host.apply(host.Prompted(model, positive, negative), regions)
        return io.NodeOutput(prompted.model, prompted.positive, prompted.negative)
