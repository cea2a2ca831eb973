"""The node that lets a model follow an image prompt."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..ip_adapter_core import prompt
from ..ip_adapter_core.schedule import UNITS, Span
from .host import models
from .sockets import ImagePrompt, schema


class Apply(io.ComfyNode):
    """MODEL + IMAGE_PROMPT + weight, start, end -> MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Apply",
            "Apply Image Prompt",
            "Let the model follow an image prompt beside its text prompt. Apply several in a row to add them up.",
            inputs=[
                io.Model.Input("model", tooltip="The model to prompt. It is not changed; a patched copy comes out."),
                ImagePrompt.Input("image_prompt", tooltip="From Encode Image Prompt."),
                weight_input(),
                *span_inputs(),
                io.Float.Input(
                    "lora_strength",
                    optional=True,
                    default=1.0,
                    min=-5.0,
                    max=5.0,
                    step=0.05,
                    advanced=True,
                    tooltip="How strongly the LoRA inside a FaceID file acts on the model, in all of the sampling. "
                    "1 as it was trained. Other adapters have none. Do not load the separate LoRA file as well.",
                ),
                io.Boolean.Input(
                    "skip_middle_block",
                    optional=True,
                    default=False,
                    advanced=True,
                    tooltip="Leave out the UNet's middle block, as IPAdapter Plus does since September 2024: only to "
                    "make its pictures again. The adapters were trained with it.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the image prompt.")],
            aliases=["ipadapter", "ip-adapter", "ipadapter advanced"],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        image_prompt: prompt.ImagePrompt,
        weight: float,
        start: float,
        end: float,
        unit: str,
        lora_strength: float = 1.0,
        skip_middle_block: bool = False,
    ) -> io.NodeOutput:
        span = Span(start, end, unit)
        applied = models.apply(
            model, image_prompt, weight, span, lora_strength=lora_strength, skip_middle=skip_middle_block
        )
        return io.NodeOutput(applied)


def weight_input() -> io.Float.Input:
    """The weight λ."""
    return io.Float.Input(
        "weight",
        default=1.0,
        min=-5.0,
        max=5.0,
        step=0.05,
        tooltip="λ, how strongly the image prompt acts: 0 is the model without it. "
        "1 with an empty text prompt; about 0.5 when text and image should share the say.",
    )


def span_inputs() -> list[io.Input]:
    """When the prompt acts: start, end, and what they count."""
    limits = {"min": 0.0, "max": 10000.0, "step": 0.01}
    return [
        io.Float.Input("start", default=0.0, **limits, tooltip="Where in the sampling the image prompt begins to act."),
        io.Float.Input("end", default=1.0, **limits, tooltip="Where in the sampling the image prompt ceases to act."),
        io.Combo.Input(
            "unit",
            options=list(UNITS),
            default=UNITS[0],
            advanced=True,
            tooltip="What start and end count. percent: of the noise schedule, 0 to 1, as for ControlNet. "
            "steps: steps of this sampling, the first being 0; the end step itself is left out.",
        ),
    ]
