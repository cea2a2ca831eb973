"""The node that makes one image prompt of two."""

from __future__ import annotations

from comfy_api.latest import io

from ..ip_adapter_core.prompts import prompt
from ..ip_adapter_core.prompts.arithmetic import PROMPT_OPS, combine_prompts
from .node import Node
from .sockets import ImagePrompt, schema


class Combine(Node):
    """Two IMAGE_PROMPTs of one adapter, a way and two weights -> IMAGE_PROMPT."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Combine",
            "Combine Image Prompts",
            "Calculate with image prompts: between two pictures, one picture and a part of another, one without the "
            "other.",
            inputs=[
                ImagePrompt.Input("first", tooltip="An image prompt."),
                ImagePrompt.Input("second", tooltip="Another one, encoded with the same adapter."),
                io.Combo.Input(
                    "how",
                    options=list(PROMPT_OPS),
                    default="interpolate",
                    tooltip="interpolate: between the two, nearer to the one of more weight. add: weighted sum. "
                    "subtract: the first without the second. side by side: the model looks at both, as with two "
                    "pictures in one prompt. both: each acts by itself, as with two Apply nodes.",
                ),
                _weight("first_weight", 0.5, "first"),
                _weight("second_weight", 0.5, "second"),
            ],
            outputs=[ImagePrompt.Output(display_name="image_prompt", tooltip="For Apply Image Prompt.")],
            aliases=["combine batch embeds ipadapter", "interpolate", "prompt arithmetic", "mix"],
        )

    @classmethod
    def execute(
        cls,
        first: prompt.ImagePrompt,
        second: prompt.ImagePrompt,
        how: str,
        first_weight: float,
        second_weight: float,
    ) -> io.NodeOutput:
        return io.NodeOutput(combine_prompts(first, second, how, (first_weight, second_weight)))


def _weight(name: str, default: float, which: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=default,
        min=-5.0,
        max=5.0,
        step=0.05,
        tooltip=f"How much of the {which} prompt. For interpolate only the proportion counts: 0 leaves it out.",
    )
