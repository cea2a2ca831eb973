"""The nodes that turn reference images and faces into an image prompt."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_adapter_core.faces.features import Faces
from ..ip_adapter_core.preprocess import FITS
from .host import vision
from .host.adapters import LoadedAdapter
from .sockets import FaceFeatures, ImagePrompt, IpAdapter, schema


class Encode(io.ComfyNode):
    """Images + adapter + encoder -> IMAGE_PROMPT."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Encode",
            "Encode Image Prompt",
            "Read reference images with the encoder and the adapter. Shows the pictures that the encoder really sees.",
            inputs=[
                IpAdapter.Input("ip_adapter", tooltip="From Load IP-Adapter."),
                io.ClipVision.Input("clip_vision", tooltip="The encoder the adapter was trained with."),
                io.Image.Input("image", tooltip="One or more reference images; several together make one prompt."),
                fit_input(),
                io.Image.Input(
                    "negative_image",
                    optional=True,
                    tooltip="What to move away from. Left empty, the neutral input of the adapter's training.",
                ),
            ],
            outputs=[
                ImagePrompt.Output(display_name="image_prompt", tooltip="For Apply Image Prompt."),
                io.Image.Output(display_name="seen", tooltip="The pictures as the encoder sees them."),
            ],
            aliases=["ipadapter encoder", "reference image"],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls,
        ip_adapter: LoadedAdapter,
        clip_vision: Any,
        image: Tensor,
        fit: str,
        negative_image: Tensor | None = None,
    ) -> io.NodeOutput:
        prompt, seen = vision.image_prompt(ip_adapter, clip_vision, image, fit, negative_image)
        return io.NodeOutput(prompt, seen, ui=ui.PreviewImage(seen, cls=cls))


class EncodeFace(io.ComfyNode):
    """Faces + adapter (+ encoder) -> IMAGE_PROMPT."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_EncodeFace",
            "Encode Face Prompt",
            "Read faces with a FaceID or portrait adapter. Shows their pictures as the encoder sees them.",
            inputs=[
                IpAdapter.Input("ip_adapter", tooltip="A FaceID, FaceID-Plus or portrait adapter."),
                FaceFeatures.Input("faces", tooltip="From Face Embedding. Several faces together make one prompt."),
                io.Float.Input(
                    "shortcut",
                    default=1.0,
                    min=-1.0,
                    max=5.0,
                    step=0.05,
                    tooltip="FaceID-Plus v2 and Kolors: how strongly the face's picture speaks beside its embedding. "
                    "1 as in the reference; more keeps the picture's structure. Other kinds do not read it.",
                ),
                io.ClipVision.Input(
                    "clip_vision", optional=True, tooltip="For FaceID-Plus: the encoder that reads the face's picture."
                ),
                FaceFeatures.Input(
                    "negative_faces",
                    optional=True,
                    tooltip="Faces to move away from. Left empty, the neutral input of the adapter's training.",
                ),
            ],
            outputs=[
                ImagePrompt.Output(display_name="image_prompt", tooltip="For Apply Image Prompt."),
                io.Image.Output(display_name="seen", tooltip="The faces' pictures; black where they have none."),
            ],
            aliases=["faceid", "ipadapter faceid", "portrait"],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls,
        ip_adapter: LoadedAdapter,
        faces: Faces,
        shortcut: float,
        clip_vision: Any | None = None,
        negative_faces: Faces | None = None,
    ) -> io.NodeOutput:
        prompt, seen = vision.face_prompt(ip_adapter, clip_vision, faces, shortcut, negative_faces)
        return io.NodeOutput(prompt, seen, ui=ui.PreviewImage(seen, cls=cls))


def fit_input() -> io.Combo.Input:
    """How pictures that are not square reach the encoder."""
    return io.Combo.Input(
        "fit",
        options=list(FITS),
        default=FITS[0],
        tooltip="How a picture that is not square becomes square. center crop: the middle, as in the training. "
        "pad: the whole picture with neutral borders. squash: the whole picture, distorted.",
    )
