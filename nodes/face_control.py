"""The nodes for the other half of InstantID: a ControlNet that reads who a face is, and the picture it looks at."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..ip_adapter_core.faces.features import Faces
from ..ip_adapter_core.faces.key_points import key_point_pictures
from ..ip_adapter_core.prompts import prompt
from .host import face_control as host
from .node import Node
from .notices import of_mask, of_weight, with_notices
from .preview import preview
from .sockets import FaceFeatures, ImagePrompt, schema

_LARGEST = 16384  # pixels of a side, as in ComfyUI's own nodes


class FaceKeyPoints(Node):
    """FACE_FEATURES -> a picture of where eyes, nose and mouth are."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_FaceKeyPoints",
            "Face Key Points",
            "Draw where the eyes, the nose and the corners of the mouth of faces are: the picture that InstantID's "
            "ControlNet looks at.",
            inputs=[
                FaceFeatures.Input(
                    "faces",
                    tooltip="From Face Embedding. The faces of one picture are drawn together; a picture without a "
                    "face becomes a black one.",
                ),
                _side_input("width", "height"),
                _side_input("height", "width"),
            ],
            outputs=[
                io.Image.Output(
                    display_name="key_points",
                    tooltip="Five coloured points for each face on black, joined by sticks. For Apply InstantID "
                    "ControlNet.",
                )
            ],
            aliases=["instantid key points", "face keypoints preprocessor", "kps"],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(cls, faces: Faces, width: int, height: int) -> io.NodeOutput:
        drawn = key_point_pictures(faces, (height, width))
        return io.NodeOutput(drawn, ui=preview(drawn, cls))


class InstantIDControl(Node):
    """Texts + CONTROL_NET + IMAGE_PROMPT of a face + key points -> texts for the sampler."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_InstantIDControl",
            "Apply InstantID ControlNet",
            "Let InstantID's ControlNet put a face where the key points are; in place of the text it reads who the "
            "face is. The other half of InstantID is Apply Image Prompt with the same image prompt.",
            inputs=[
                io.Conditioning.Input("positive", tooltip="What the picture shows, in words."),
                io.Conditioning.Input("negative", tooltip="What the picture does not show."),
                io.ControlNet.Input("control_net", tooltip="InstantID's ControlNet, from Load ControlNet Model."),
                ImagePrompt.Input(
                    "image_prompt",
                    tooltip="From Encode Face Prompt with InstantID's ip-adapter.bin: one face, or several as one "
                    "with combine average.",
                ),
                io.Image.Input(
                    "key_points",
                    tooltip="Where the face is in the result, from Face Key Points: of the same picture, or of another "
                    "one whose pose is wanted.",
                ),
                io.Float.Input(
                    "strength",
                    default=0.8,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How strongly the ControlNet acts: 0 is not at all, 0.8 what InstantID begins with.",
                ),
                _percent_input("start", 0.0, "begins"),
                _percent_input("end", 1.0, "ceases"),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where in the picture the ControlNet acts: white. Stretched over the picture, whatever its "
                    "size.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(display_name="positive", tooltip="The text with the ControlNet."),
                io.Conditioning.Output(display_name="negative", tooltip="The negative text with the ControlNet."),
            ],
            aliases=["apply instantid", "instantid apply controlnet", "identitynet"],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls,
        positive: list[Any],
        negative: list[Any],
        control_net: Any,
        image_prompt: prompt.ImagePrompt,
        key_points: Tensor,
        strength: float,
        start: float,
        end: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        hint = host.Hint(key_points, strength, start, end, mask)
        sides = host.apply(positive, negative, control_net, image_prompt, hint)
        what = "this ControlNet"
        notices = [*of_weight(strength, "strength", what), *of_mask(mask, what)]
        return io.NodeOutput(*sides, ui=with_notices(notices))


def _side_input(name: str, other: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=1024,
        min=0,
        max=_LARGEST,
        step=8,
        tooltip=f"The {name} of the result, in pixels, so that points and sticks are as thick as in InstantID's "
        f"training. 0: as {other} and the shape of the picture say; both 0: the picture's own size.",
    )


def _percent_input(name: str, default: float, does: str) -> io.Float.Input:
    return io.Float.Input(
        name,
        default=default,
        min=0.0,
        max=1.0,
        step=0.001,
        tooltip=f"Where in the sampling the ControlNet {does} to act, from 0 to 1, as {name}_percent of Apply "
        "ControlNet.",
    )
