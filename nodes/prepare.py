"""The node that prepares references before an encoder sees them."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..ip_adapter_core.vision.prepare import CROPS, RESAMPLINGS, Square, square
from ..ip_adapter_core.vision.prepare import sharpen as sharpened
from .node import Node
from .notices import of_pictures, with_notices
from .preview import preview
from .sockets import schema

_LARGEST = 2048  # pixels along a side


class Prepare(Node):
    """Pictures -> squares cut where the user says, resized and sharpened."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Prepare",
            "Prepare Reference",
            "Cut references to squares where you say, resize and sharpen them. Shows the pictures.",
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="One or more pictures, each of which becomes a square. Transparency is not looked at.",
                ),
                io.Combo.Input(
                    "crop",
                    options=list(CROPS),
                    default=CROPS[0],
                    tooltip="Which part stays of a picture that is not square. center, top, bottom, left, right: the "
                    "largest square there. pad: the whole picture with neutral borders. point: the square around "
                    "point_x and point_y.",
                ),
                io.Int.Input(
                    "size",
                    default=224,
                    min=8,
                    max=_LARGEST,
                    tooltip="Pixels along a side. Most encoders read 224; more is for encoders of a higher resolution "
                    "and for tiles.",
                ),
                io.Combo.Input(
                    "interpolation",
                    options=list(RESAMPLINGS),
                    default=RESAMPLINGS[0],
                    tooltip="Pillow's filter for resizing. LANCZOS is the sharpest, BOX averages, NEAREST keeps pixels "
                    "as they are.",
                ),
                io.Float.Input(
                    "sharpen",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Contrast-adaptive sharpening after resizing, most where contrast is low. 0 is none.",
                ),
                *_point_inputs(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="image", tooltip="The squares, for Encode Image Prompt or wherever pictures go."
                )
            ],
            aliases=[
                "prep image for clipvision",
                "PrepImageForClipVision",
                "prepare image for insightface",
                "crop",
                "sharpen",
            ],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls,
        image: Tensor,
        crop: str,
        size: int,
        interpolation: str,
        sharpen: float,
        point_x: float = 0.5,
        point_y: float = 0.5,
    ) -> io.NodeOutput:
        prepared = sharpened(square(image, Square(crop, size, interpolation, (point_x, point_y))), sharpen)
        return io.NodeOutput(prepared, ui=with_notices(of_pictures(image), preview(prepared, cls)))


def _point_inputs() -> list[io.Input]:
    """Inputs for the point that a square lies around."""
    return [
        io.Float.Input(
            name,
            optional=True,
            default=0.5,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip=f"For point: {where} The square lies around it as far as the picture goes.",
        )
        for name, where in (
            ("point_x", "0 is the left border, 1 the right."),
            ("point_y", "0 is the top, 1 the bottom."),
        )
    ]
