"""The node that goes from image to image over the frames of an animation."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..ip_adapter_core.plots import transition
from ..ip_adapter_core.prompts import prompt, transitions
from ..ip_adapter_core.prompts.transitions import EASINGS, over_frames, read_keys
from .host.pictures import to_image
from .input_checks import readable
from .node import Node
from .sockets import ImagePrompt, schema


class Transition(Node):
    """An IMAGE_PROMPT of key images, frames, and the way between them -> IMAGE_PROMPT over these frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Transition",
            "Image Prompt Transition",
            "Go from image to image over the frames of an animation. Shows how strongly each acts in every frame.",
            inputs=[
                ImagePrompt.Input(
                    "image_prompt",
                    tooltip="The key images: a batch of two or more, encoded with combine set to one per frame.",
                ),
                io.Int.Input(
                    "frames",
                    default=16,
                    min=2,
                    max=100_000,
                    tooltip="How many frames: pictures in the latent batch.",
                ),
                io.Combo.Input(
                    "shape",
                    options=list(EASINGS),
                    default=EASINGS[0],
                    tooltip="How one image gives way to the next: evenly, or slowly at the beginning, the end or both.",
                ),
                io.Float.Input(
                    "hold",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="The share of the way on which an image stays as it is: 0 always changes, 1 is a hard cut.",
                ),
                io.Boolean.Input(
                    "loop",
                    default=False,
                    tooltip="Go back from the last image to the first: a loop without a seam.",
                ),
                io.String.Input(
                    "key_frames",
                    default="",
                    tooltip="The frames, from 0, at which each image stands alone, such as 0, 8, 15. Empty: evenly.",
                ),
            ],
            outputs=[
                ImagePrompt.Output(display_name="image_prompt", tooltip="For Apply Image Prompt."),
                io.Image.Output(display_name="picture", tooltip="The weight of each image in every frame."),
            ],
            aliases=["weights ipadapter", "animatediff", "morph", "interpolate", "keyframes"],
            has_intermediate_output=True,
        )

    @classmethod
    def validate_inputs(cls, key_frames: str | None) -> bool | str:
        return readable(read_keys, key_frames)

    @classmethod
    def execute(
        cls, image_prompt: prompt.ImagePrompt, frames: int, shape: str, hold: float, loop: bool, key_frames: str
    ) -> io.NodeOutput:
        wanted = transitions.Transition(frames, read_keys(key_frames), shape, hold, loop)
        prompt_of_frames, with_keys = over_frames(image_prompt, wanted)
        picture = to_image(transition.draw(with_keys))
        return io.NodeOutput(prompt_of_frames, picture, ui=ui.PreviewImage(picture, cls=cls))
