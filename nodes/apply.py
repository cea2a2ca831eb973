"""The node that lets a model follow an image prompt."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..ip_adapter_core.attention.application import ApplyOptions
from ..ip_adapter_core.attention.balance import BALANCES, OFF
from ..ip_adapter_core.attention.projection import AUTO, METHODS
from ..ip_adapter_core.attention.scaling import SCALINGS
from ..ip_adapter_core.prompts import prompt
from ..ip_adapter_core.settings import layer_weights as weights
from ..ip_adapter_core.settings import schedule as schedules
from ..ip_adapter_core.settings.span import TIME_UNITS, Span
from .host import models
from .host.sampling import model_patch
from .node import Node
from .notices import of_layers, of_use, with_notices
from .sockets import ImagePrompt, LayerWeights, WeightSchedule, schema


class Apply(Node):
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
                    tooltip="How strongly the LoRA inside a FaceID file acts on the model. 1 as it was trained. It "
                    "does not follow weight, start, end, schedule or mask; only at weight 0 it is gone with the "
                    "prompt. Of several nodes with one adapter, the last says it. Other adapters have none. Do not "
                    "load the separate LoRA file as well.",
                ),
                io.Boolean.Input(
                    "skip_middle_block",
                    optional=True,
                    default=False,
                    advanced=True,
                    tooltip="Leave out the UNet's middle block, as IPAdapter Plus does since September 2024: only to "
                    "make its pictures again. The adapters were trained with it.",
                ),
                *layer_and_time_inputs(),
                mask_input(),
                io.Combo.Input(
                    "scaling",
                    optional=True,
                    options=list(SCALINGS),
                    default="V only",
                    advanced=True,
                    tooltip="How the weight enters. V only: as in the paper. K+V: also how sharply the picture is "
                    "looked at. The C penalties weaken layers with fewer channels, which hold details.",
                ),
                balance_input(),
                method_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the image prompt.")],
            has_intermediate_output=True,
            aliases=["embeds batch ipadapter advanced", "apply ipadapter from encoded"],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        image_prompt: prompt.ImagePrompt,
        weight: float,
        start: float,
        end: float,
        unit: str = TIME_UNITS[0],
        lora_strength: float = 1.0,
        skip_middle_block: bool = False,
        layer_weights: weights.LayerWeights = weights.LINEAR,
        schedule: schedules.Schedule = schedules.CONSTANT,
        mask: Tensor | None = None,
        scaling: str = "V only",
        balance: str = OFF,
        method: str = AUTO,
    ) -> io.NodeOutput:
        use = ApplyOptions(
            weight,
            Span(start, end, unit),
            layer_weights,
            schedule,
            scaling,
            mask,
            lora_strength=lora_strength,
            skip_middle=skip_middle_block,
            balance=balance,
            method=method,
        )
        patched = model_patch.apply(model, image_prompt, use)
        notices = [*of_use(use), *of_layers(layer_weights, models.layers(model, image_prompt.identity.geometry))]
        return io.NodeOutput(patched, ui=with_notices(notices))


def weight_input(name: str = "weight", what: str = "how strongly the image prompt acts") -> io.Float.Input:
    """The input of the weight λ."""
    return io.Float.Input(
        name,
        default=1.0,
        min=-5.0,
        max=5.0,
        step=0.05,
        tooltip=f"λ, {what}: 0 is the model without it. "
        "1 with an empty text prompt; about 0.5 when text and image should share the say.",
    )


def balance_input() -> io.Combo.Input:
    """The input for how what is added is held against the text."""
    return io.Combo.Input(
        "balance",
        optional=True,
        options=list(BALANCES),
        default=OFF,
        advanced=True,
        tooltip="What the weight is measured by. off: by the adapter alone, and several references add up. cap: in no "
        "layer do all references together say more than the weight times what the text says. equalise: they say "
        "exactly that, whatever the adapter and however many they are.",
    )


def method_input() -> io.Combo.Input:
    """The input for how far what is added is turned away from the text."""
    return io.Combo.Input(
        "method",
        optional=True,
        options=[AUTO, *METHODS],
        default=AUTO,
        advanced=True,
        tooltip="Of PuLID alone: how much of what the text says already a face may say again. auto: fidelity for v1, "
        "editable for v1.1. fidelity: nearest to the face. editable: the same, and weaker. style: leaves the most to "
        "the text. neutral: as other adapters act; lower the weight then.",
    )


def mask_input() -> io.Mask.Input:
    """The input for where in the picture the prompt acts."""
    return io.Mask.Input(
        "mask",
        optional=True,
        tooltip="Where in the picture the prompt acts: white. Stretched over the picture, whatever its size. "
        "Several masks: one for each frame of the batch.",
    )


def layer_and_time_inputs() -> list[io.Input]:
    """Inputs for which layers follow, and when."""
    return [
        LayerWeights.Input(
            "layer_weights",
            optional=True,
            tooltip="From Layer Weights. Left empty, all layers follow alike.",
        ),
        schedule_input(),
    ]


def schedule_input() -> io.Input:
    """The input for what the weight is multiplied with, step by step."""
    return WeightSchedule.Input(
        "schedule", optional=True, tooltip="From Weight Schedule: what the weight is multiplied with, step by step."
    )


def span_inputs() -> list[io.Input]:
    """Inputs for when the prompt acts: start, end, and what they count."""
    limits = {"min": 0.0, "max": 10000.0, "step": 0.01}
    return [
        io.Float.Input("start", default=0.0, **limits, tooltip="Where in the sampling the image prompt begins to act."),
        io.Float.Input("end", default=1.0, **limits, tooltip="Where in the sampling the image prompt ceases to act."),
        io.Combo.Input(
            "unit",
            optional=True,
            options=list(TIME_UNITS),
            default=TIME_UNITS[0],
            advanced=True,
            tooltip="What start and end count. percent: of the noise schedule, 0 to 1, as for ControlNet. "
            "steps: steps of this sampling, the first being 0; the end step itself is left out.",
        ),
    ]
