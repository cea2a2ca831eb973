"""The node that turns reference images into an image prompt."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui
from torch import Tensor

from ..ip_adapter_core.preprocess import FITS
from .host import vision
from .host.adapters import LoadedAdapter
from .sockets import ImagePrompt, IpAdapter, schema


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


def fit_input() -> io.Combo.Input:
    """How pictures that are not square reach the encoder."""
    return io.Combo.Input(
        "fit",
        options=list(FITS),
        default=FITS[0],
        tooltip="How a picture that is not square becomes square. center crop: the middle, as in the training. "
        "pad: the whole picture with neutral borders. squash: the whole picture, distorted.",
    )
