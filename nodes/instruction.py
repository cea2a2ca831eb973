"""The node that says in words what an adapter shall take from a reference."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host.instruction import instruct
from .node import Node
from .sockets import Instruction as InstructionSocket
from .sockets import schema


class Instruction(Node):
    """CLIP + what to take + the text of the result -> IMAGE_PROMPT_INSTRUCTION."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Instruction",
            "Image Prompt Instruction",
            "Say in words what to take from a reference: its style, its colours, the pose, the face, … For adapters of "
            "kind Instruct (IP-Adapter-Instruct).",
            inputs=[
                io.Clip.Input("clip", tooltip="The CLIP of the SD1.5 or SDXL checkpoint: its CLIP-L reads the texts."),
                io.String.Input(
                    "instruction",
                    default="use the style",
                    tooltip="What to take from the reference. Trained with: use everything from the image, use the "
                    "style, use the colour, use the pose, use the composition, use the face; for SD1.5 also use the "
                    "object, use the foreground, use the background.",
                ),
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="",
                    tooltip="What the picture shows: the same words as in the positive CLIP Text Encode. Read as they "
                    "are, without weights in brackets, up to 75 tokens.",
                ),
                io.String.Input(
                    "negative_prompt",
                    multiline=True,
                    optional=True,
                    default="",
                    advanced=True,
                    tooltip="SD1.5: the words of the negative CLIP Text Encode. SDXL: leave it empty, as the authors' "
                    "code does.",
                ),
            ],
            outputs=[
                InstructionSocket.Output(
                    display_name="instruction",
                    tooltip="For Encode Image Prompt, Moodboard Picture or Image Prompt Grid.",
                ),
            ],
            aliases=["instruct ip-adapter", "instruct ipadapter", "what to take from the picture", "use the style"],
        )

    @classmethod
    def execute(cls, clip: Any, instruction: str, prompt: str, negative_prompt: str = "") -> io.NodeOutput:
        return io.NodeOutput(instruct(clip, instruction, prompt, negative_prompt))
