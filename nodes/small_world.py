"""The nodes that draw the small world: references, masks and outlines for the demo model, and portraits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comfy_api.latest import io, ui

from ..ip_adapter_core.small_world import drawing, people, portraits, world
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
_PORTRAIT = {
    "skin": (tuple(people.SKINS), "pale", "The colour of the skin."),
    "hair": (tuple(people.HAIR), "red", "The colour of the hair."),
    "style": (people.STYLES, "curly", "How the hair is worn."),
    "beard": (people.BEARDS, "shaved", "In the colour of the hair."),
    "expression": (people.EXPRESSIONS, "smiling", "What the face shows."),
    "glasses": (people.GLASSES, "no", "Which are worn."),
    "clothes": (tuple(world.COLOURS), "green", "The colour of the shirt."),
    "background": (world.BACKGROUNDS, "sky", "What is behind."),
}


class SmallWorld(Node):
    """Words -> a picture of the small world, with its mask, outlines and caption."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_SmallWorld",
            "Small World Picture",
            "Draw a picture of the small world: a reference for the demo model that comes with this package.",
            inputs=[
                *_menus(_CHOICES),
                _seed("seed", "Draws what the words leave open: tint, angle, the exact place, the lie of the texture."),
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


class SmallWorldPortrait(Node):
    """Words -> a portrait of somebody of the small world."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_SmallWorldPortrait",
            "Small World Portrait",
            "Draw somebody of the small world: a face for the demo's adapters of faces.",
            inputs=[
                *_menus(_PORTRAIT),
                _seed("person", "Draws what no word says of somebody: proportions, and the colour of the eyes."),
                _seed("seed", "Draws where the head is, how it is tilted, and the exact tints around it."),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The portrait, 256x256."),
                io.String.Output(display_name="caption", tooltip="What it shows, in the model's words."),
            ],
            aliases=["ipadapter demo", "test face"],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(cls, person: int, seed: int, **words: str) -> io.NodeOutput:
        shown = people.compose([words[name] for name in (*people.IDENTITY, *people.LOOK)], person, seed)
        image = portraits.draw([shown]).movedim(1, -1)
        return io.NodeOutput(image, people.caption(shown), ui=ui.PreviewImage(image, cls=cls))


def _menus(choices: Mapping[str, tuple[Sequence[str], str, str]]) -> list[io.Input]:
    """A menu for each row: options, the default, the tooltip."""
    return [
        io.Combo.Input(name, options=list(options), default=default, tooltip=tooltip)
        for name, (options, default, tooltip) in choices.items()
    ]


def _seed(name: str, tooltip: str) -> io.Input:
    """A number that the editor leaves as it is; left open, it would draw another one after each run."""
    return io.Int.Input(name, default=0, min=0, max=0xFFFFFFFF, control_after_generate=False, tooltip=tooltip)
