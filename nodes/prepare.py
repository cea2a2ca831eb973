"""The node that prepares references before an encoder sees them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from comfy_api.latest import io
from torch import Tensor

from ..ip_adapter_core.plots import cut_sheet
from ..ip_adapter_core.plots.cut_sheet import Cut
from ..ip_adapter_core.vision.borders import FILLINGS, Border
from ..ip_adapter_core.vision.colours import COLOURS, WRITTEN, colour_of
from ..ip_adapter_core.vision.cutout import Background
from ..ip_adapter_core.vision.prepare import BORDERED, CROPS, RESAMPLINGS, Square, boxes, square
from ..ip_adapter_core.vision.prepare import sharpen as sharpened
from .host.pictures import to_image
from .input_checks import Values
from .node import Node
from .notices import of_pictures, of_unread_mask, with_notices
from .preview import preview
from .sockets import schema

_LARGEST = 2048  # pixels along a side
_STAYS = "keep"
_BORDERS = (*COLOURS, WRITTEN, *(filling for filling in FILLINGS if filling != Border().filling))
_BACKGROUNDS = (_STAYS, *COLOURS, WRITTEN)


class _Reference(NamedTuple):
    """Pictures of one size, and what the other inputs say of them."""

    image: Tensor
    crop: str
    size: int
    interpolation: str
    sharpen: float
    point_x: float = 0.5
    point_y: float = 0.5
    mask: Tensor | None = None
    margin: float = 10.0
    border: str = _BORDERS[0]
    background: str = _STAYS
    soft_edge: float = 2.0
    colour: str = "#808080"
    one_batch: bool = False

    @property
    def how(self) -> Square:
        """What the menus and numbers say; a colour is read only where it counts."""
        point = (self.point_x, self.point_y)
        border, background = self._border, self._background
        return Square(
            self.crop, self.size, self.interpolation, point, border, margin=self.margin, background=background
        )

    @property
    def _border(self) -> Border:
        if self.border in FILLINGS:
            return Border(self.border)
        return Border(colour=colour_of(self.border, self.colour)) if self.crop in BORDERED else Border()

    @property
    def _background(self) -> Background | None:
        if self.background == _STAYS:
            return None
        return Background(colour_of(self.background, self.colour), self.soft_edge)

    @property
    def notices(self) -> list[str]:
        """What of the inputs is most likely not meant."""
        return [*of_pictures(self.image), *of_unread_mask(self.mask, self.how.reads_mask)]

    def prepared(self) -> Tensor:
        """The squares, (images, size, size, 3)."""
        return sharpened(square(self.image, self.how, self.mask), self.sharpen)

    def cuts(self, prepared: Tensor) -> list[Cut]:
        """What became of each picture."""
        return [Cut(*cut) for cut in zip(self.image, boxes(self.image, self.how, self.mask), prepared, strict=True)]


class Prepare(Node):
    """Pictures -> squares cut where the user says, without their background, resized and sharpened."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_Prepare",
            "Prepare Reference",
            "Cut references to squares where you say, remove their background, resize and sharpen them. Shows what is "
            "cut out of each picture, and what comes out.",
            inputs=[*_picture_inputs(), *_point_inputs(), *_mask_inputs(), *_more_inputs()],
            outputs=[
                io.Image.Output(
                    display_name="image",
                    tooltip="The squares, for Encode Image Prompt or wherever pictures go.",
                    is_output_list=True,
                )
            ],
            aliases=[
                "prep image for clipvision",
                "PrepImageForClipVision",
                "prepare image for insightface",
                "crop",
                "crop by mask",
                "remove background",
                "pad image",
                "sharpen",
            ],
            is_input_list=True,
            has_intermediate_output=True,
        )

    @classmethod
    def execute(cls, rows: list[Values]) -> io.NodeOutput:
        references = [_Reference(**row) for row in rows]
        prepared = [reference.prepared() for reference in references]
        pairs = list(zip(references, prepared, strict=True))
        sheet = cut_sheet.draw([cut for reference, squares in pairs for cut in reference.cuts(squares)])
        notices = dict.fromkeys(notice for reference in references for notice in reference.notices)
        joined = [_one_batch(prepared)] if any(reference.one_batch for reference in references) else prepared
        return io.NodeOutput(joined, ui=with_notices(list(notices), preview(to_image(sheet), cls)))


def _one_batch(prepared: list[Tensor]) -> Tensor:
    sizes = sorted({squares.shape[1] for squares in prepared})
    if len(sizes) > 1:
        raise ValueError(
            "Give all pictures one size, or switch one_batch off: pictures of one batch have the same size; found "
            f"{', '.join(map(str, sizes))}."
        )
    return torch.cat(prepared)


def _picture_inputs() -> list[io.Input]:
    """Inputs for the pictures, and how each becomes a square."""
    return [
        io.Image.Input(
            "image",
            tooltip="One or more pictures, each of which becomes a square; also a list of pictures of any sizes. "
            "Transparency is not looked at.",
        ),
        io.Combo.Input(
            "crop",
            options=list(CROPS),
            default=CROPS[0],
            tooltip="Which part stays of a picture that is not square. center, top, bottom, left, right: the "
            "largest square there. pad: the whole picture with borders. point: the square around point_x and point_y. "
            "mask: the square around what the mask is white on.",
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
    ]


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


def _mask_inputs() -> list[io.Input]:
    """Inputs for the mask of the subject, and for the crop around it."""
    return [
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="White where the subject is: for the crop mask, and for background. One mask for all pictures, or "
            "one for each.",
        ),
        io.Float.Input(
            "margin",
            optional=True,
            default=10.0,
            min=0.0,
            max=200.0,
            step=1.0,
            tooltip="For mask: how much is added on each side of what is white, in percent of its longer side. The "
            "square stays inside of the picture.",
        ),
    ]


def _more_inputs() -> list[io.Input]:
    """Inputs for borders, background and lists."""
    return [
        io.Combo.Input(
            "border",
            optional=True,
            options=list(_BORDERS),
            default=_BORDERS[0],
            tooltip="What fills the borders of pad, and of mask where no square of the picture holds it. grey: neutral "
            "for CLIP encoders. mirrored: the picture turned over. blurred: that, out of focus.",
        ),
        io.Combo.Input(
            "background",
            optional=True,
            options=list(_BACKGROUNDS),
            default=_STAYS,
            tooltip="What becomes of all outside of the mask. keep: it stays. grey: neutral for CLIP encoders. black, "
            "white, colour: as they say.",
        ),
        io.Float.Input(
            "soft_edge",
            optional=True,
            default=2.0,
            min=0.0,
            max=25.0,
            step=0.5,
            tooltip="How far the subject's edge fades into the new background, in percent of the square. It fades "
            "inwards, so that nothing outside of the mask is seen.",
        ),
        io.String.Input(
            "colour",
            optional=True,
            default="#808080",
            tooltip="For colour of border or background: #rrggbb, or an English name such as white.",
        ),
        io.Boolean.Input(
            "one_batch",
            optional=True,
            default=False,
            tooltip="For lists of pictures, of any sizes. On: all squares in one batch, for one image prompt of all. "
            "Off: a list comes out again.",
        ),
    ]
