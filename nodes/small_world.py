"""The node that draws pictures of the small world: references, masks and outlines for the demo model."""

from __future__ import annotations

from comfy_api.latest import io, ui

from ..ip_adapter_core.small_world import drawing, world
from .node import Node
from .sockets import schema

_CHOICES = {
    "shape": (world.SHAPES, "star", "What is drawn."),
    "colour": (tuple(world.COLOURS), "orange", "Its colour; the exact tint comes from the seed."),
    "texture": (world.TEXTURES, "dotted", "Its surface."),
    "background": (world.BACKGROUNDS, "sky", "What is behind it."),
    "size": (tuple(world.SIZES), "large", "How large it is."),
    "place": (tuple(world.PLACES), "center", "Where it is."),
}


class SmallWorld(Node):
    """Words -> a picture of the small world, with its mask, outlines and caption."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        choices = [
            io.Combo.Input(name, options=list(options), default=default, tooltip=tooltip)
            for name, (options, default, tooltip) in _CHOICES.items()
        ]
        return schema(
            "IPA_SmallWorld",
            "Small World Picture",
            "Draw a picture of the small world: a reference for the demo model that comes with this package.",
            inputs=[
                *choices,
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFF,
                    control_after_generate=False,  # left open, the editor would draw another one after each run
                    tooltip="Draws what the words leave open: tint, angle, the exact place, the lie of the texture.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The picture, 256x256."),
                io.Mask.Output(display_name="mask", tooltip="Where the object is."),
                io.Image.Output(display_name="outlines", tooltip="Its outlines, for the demo model's ControlNet."),
                io.String.Output(display_name="caption", tooltip="What the picture shows, in the model's words."),
            ],
            aliases=["ipadapter demo", "test picture"],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(
        cls, shape: str, colour: str, texture: str, background: str, size: str, place: str, seed: int
    ) -> io.NodeOutput:
        scene = world.compose((shape, colour, texture), background, size, place, seed)
        image, outlines = (drawn([scene]).movedim(1, -1) for drawn in (drawing.draw, drawing.outlines))
        caption = world.caption(scene)
        return io.NodeOutput(image, drawing.covers([scene]), outlines, caption, ui=ui.PreviewImage(image, cls=cls))
