"""The node that makes noise to push away from."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..ip_adapter_core.vision.noise import BLUR, NOISE_KINDS, noisy
from .node import Node
from .preview import preview
from .sockets import schema


class Noise(Node):
    """Kind, strength and perhaps a picture -> a noisy picture for negative_image."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Noise",
            "Noise Image",
            "Make a noisy picture as negative image: pushed away from it, results tend to be crisper and richer.",
            inputs=[
                io.Combo.Input(
                    "kind",
                    options=list(NOISE_KINDS),
                    default=next(iter(NOISE_KINDS)),
                    tooltip="fade: the picture fades into noise. dissolve: noise in place of some of its pixels. "
                    "gaussian: noise on top of it. shuffle: its pixels in disorder; needs an image.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much noise. 0 is the picture itself; 1 leaves nothing of it but with gaussian.",
                ),
                io.Int.Input(
                    "blur",
                    default=0,
                    min=0,
                    max=BLUR,
                    tooltip="Softens the result, so that it has no fine noise: a radius in pixels of a picture of 224, "
                    "about what encoders read. IPAdapter Plus counts the width of a kernel instead.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFF,
                    control_after_generate=False,  # left open, the editor would encode another one after each run
                    tooltip="Which noise; the same seed gives the same picture.",
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The pictures to disturb, such as the reference images. Left empty, plain grey, where "
                    "IPAdapter Plus has black.",
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="For negative_image of Encode Image Prompt.")],
            aliases=["noise ipadapter", "negative image"],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(cls, kind: str, strength: float, blur: int, seed: int, image: Tensor | None = None) -> io.NodeOutput:
        image = noisy(image, kind, strength, blur, seed)
        return io.NodeOutput(image, ui=preview(image, cls))
