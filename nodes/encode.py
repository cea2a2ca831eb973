"""The nodes that turn reference images and faces into an image prompt."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..ip_adapter_core.faces.features import Faces
from ..ip_adapter_core.prompts.combine import COMBINE_MODES, Gathering, read_weights
from ..ip_adapter_core.settings.instruction import Instruction
from ..ip_adapter_core.vision.preprocess import FITS
from ..ip_adapter_core.vision.reference_mask import is_partly_read
from .host import encoding
from .host.adapters import LoadedAdapter
from .host.encoding import DETAILS, Look
from .input_checks import readable
from .node import Node
from .notices import of_instruction, of_mask, of_pictures, of_reference_mask, with_notices
from .preview import preview
from .sockets import FaceFeatures, ImagePrompt, IpAdapter, schema
from .sockets import Instruction as InstructionSocket


class Encode(Node):
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
                io.Image.Input(
                    "image",
                    tooltip="One or more reference images; several together make one prompt. Transparency is looked "
                    "at only with alpha.",
                ),
                fit_input(),
                io.Image.Input(
                    "negative_image",
                    optional=True,
                    tooltip="What to move away from. Left empty, the neutral input of the adapter's training. Fewer "
                    "than the images are dealt out to them in turn; where these become one mixture, so do they.",
                ),
                *gathering_inputs("image"),
                *detail_inputs(),
                reference_mask_input("image"),
                alpha_input(),
                instruction_input(),
            ],
            outputs=[
                ImagePrompt.Output(display_name="image_prompt", tooltip="For Apply Image Prompt."),
                io.Image.Output(display_name="seen", tooltip="The pictures as the encoder sees them."),
            ],
            aliases=[
                "encode image tiled batch ipadapter",
                "one per frame batch (adv.) ipadapter",
                "masked tiles (experimental) ipadapter",
                "clipvision enhancer batch ipadapter",
                "reference image",
            ],
            has_intermediate_output=True,
        )

    @classmethod
    def validate_inputs(cls, weights: str | None = None) -> bool | str:
        return readable(read_weights, weights)

    @classmethod
    def execute(
        cls,
        ip_adapter: LoadedAdapter,
        clip_vision: Any,
        image: Tensor,
        fit: str,
        negative_image: Tensor | None = None,
        combine: str = "concat",
        weights: str = "",
        masks: Tensor | None = None,
        detail: str = "whole",
        tiles: int = 2,
        reference_mask: Tensor | None = None,
        alpha: bool = False,
        instruction: Instruction | None = None,
    ) -> io.NodeOutput:
        gathering = Gathering(combine, read_weights(weights), masks)
        look = Look(fit, gathering, detail, tiles, reference_mask, alpha, instruction)
        prompt, seen = encoding.encode_prompt(ip_adapter, clip_vision, image, look, negative_image)
        identity, partly = ip_adapter.identity, is_partly_read(image, reference_mask, alpha)
        of_look = [*of_reference_mask(identity, partly), *of_instruction(identity, instruction is not None)]
        notices = [*of_pictures(image, alpha), *of_mask(masks), *of_look]
        return io.NodeOutput(prompt, seen, ui=with_notices(notices, preview(seen, cls)))


class EncodeFace(Node):
    """Faces + adapter (+ encoder) -> IMAGE_PROMPT."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            "IPA_EncodeFace",
            "Encode Face Prompt",
            "Read faces with a FaceID, portrait or PuLID adapter. Shows their pictures as the encoder sees them.",
            inputs=[
                IpAdapter.Input("ip_adapter", tooltip="A FaceID, FaceID-Plus, portrait or PuLID adapter."),
                FaceFeatures.Input(
                    "faces",
                    tooltip="From Face Embedding. Several faces together make one prompt. The place of a picture "
                    "without a face stays empty: with one per frame, nothing acts in its frame.",
                ),
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
                    "clip_vision",
                    optional=True,
                    tooltip="For FaceID-Plus and PuLID: the encoder that reads the face's picture.",
                ),
                FaceFeatures.Input(
                    "negative_faces",
                    optional=True,
                    tooltip="Faces to move away from. Left empty, the neutral input of the adapter's training.",
                ),
                *gathering_inputs("face"),
                io.Image.Input(
                    "negative_image",
                    optional=True,
                    tooltip="For FaceID-Plus and PuLID, in place of negative_faces: a picture to move away from, "
                    "whoever is in it. Beside it stands the embedding of no face.",
                ),
                reference_mask_input("face's picture"),
                alpha_input(),
            ],
            outputs=[
                ImagePrompt.Output(display_name="image_prompt", tooltip="For Apply Image Prompt."),
                io.Image.Output(display_name="seen", tooltip="The faces' pictures; black where they have none."),
            ],
            aliases=["faceid", "apply faceid batch ipadapter", "faceid kolors ipadapter", "portrait", "pulid"],
            has_intermediate_output=True,
        )

    @classmethod
    def validate_inputs(cls, weights: str | None = None) -> bool | str:
        return readable(read_weights, weights)

    @classmethod
    def execute(
        cls,
        ip_adapter: LoadedAdapter,
        faces: Faces,
        shortcut: float,
        clip_vision: Any | None = None,
        negative_faces: Faces | None = None,
        combine: str = "concat",
        weights: str = "",
        masks: Tensor | None = None,
        negative_image: Tensor | None = None,
        reference_mask: Tensor | None = None,
        alpha: bool = False,
    ) -> io.NodeOutput:
        if negative_faces is not None and negative_image is not None:
            raise ValueError("Disconnect negative_faces or negative_image: only one can be moved away from.")
        gathering = Gathering(combine, read_weights(weights), masks)
        negative = negative_image if negative_faces is None else negative_faces
        prompt, seen = encoding.face_prompt(
            ip_adapter, clip_vision, faces, negative, gathering, shortcut, reference_mask, alpha
        )
        notices = _of_faces(ip_adapter, encoding.face_pictures(ip_adapter, faces, clip_vision), reference_mask, alpha)
        return io.NodeOutput(prompt, seen, ui=with_notices(notices, preview(seen, cls)))


def _of_faces(adapter: LoadedAdapter, pictures: Tensor | None, mask: Tensor | None, alpha: bool) -> list[str]:
    """The notices of what is read of faces' pictures; none where no picture is read."""
    if pictures is None or adapter.identity.encoder is None:
        return []
    partly = is_partly_read(pictures, mask, alpha)
    return [*of_pictures(pictures, alpha), *of_reference_mask(adapter.identity, partly)]


def fit_input(optional: bool = False) -> io.Combo.Input:
    """The input for how pictures that are not square reach the encoder."""
    return io.Combo.Input(
        "fit",
        optional=optional,
        options=list(FITS),
        default=FITS[0],
        tooltip="How a picture that is not square becomes square. center crop: the middle, as in the training with "
        "CLIP. pad: the whole picture with neutral borders. squash: the whole picture, distorted, as in the training "
        "with SigLIP.",
    )


def gathering_inputs(what: str) -> list[io.Input]:
    """Inputs for how several images or faces become one prompt."""
    return [
        io.Combo.Input(
            "combine",
            optional=True,
            options=list(COMBINE_MODES),
            default="concat",
            tooltip=f"What several {what}s become. concat: one prompt that reads all of them. separate: each acts by "
            f"itself, and they add up. one per frame: the first {what} is for the first picture of the batch, and so "
            "on. average, norm average, add, subtract (the others from the first), max, min: one mixture.",
        ),
        io.String.Input(
            "weights",
            optional=True,
            default="",
            tooltip=f"A weight for each {what}, such as 1, 0.5; empty for all alike; 0 leaves one out. With concat "
            "they say how often each counts beside the others, else how strongly each acts.",
        ),
        io.Mask.Input(
            "masks",
            optional=True,
            tooltip=f"A mask for each {what}: where in the picture it acts. Then each acts by itself in its place.",
        ),
    ]


def reference_mask_input(what: str) -> io.Mask.Input:
    """The input for which part of a reference is read."""
    return io.Mask.Input(
        "reference_mask",
        optional=True,
        tooltip=f"Which part of the {what} is read: white is, and the rest becomes the encoder's neutral colour. One "
        "for each or one for all, of any size. Where in the result it acts is another mask.",
    )


def instruction_input() -> io.Input:
    """The input for what an adapter of an instructed kind takes from a reference."""
    return InstructionSocket.Input(
        "instruction",
        optional=True,
        tooltip="From Image Prompt Instruction: what to take from the image. Adapters of kind Instruct need it; others "
        "do not read it.",
    )


def alpha_input() -> io.Boolean.Input:
    """The input for whether transparency says which part of a reference is read."""
    return io.Boolean.Input(
        "alpha",
        optional=True,
        default=False,
        advanced=True,
        tooltip="Read only what is not transparent, of images with a fourth channel. Load Image gives transparency as "
        "a mask instead: invert it for reference_mask.",
    )


def detail_inputs() -> list[io.Input]:
    """Inputs for how closely pictures are read."""
    return [
        io.Combo.Input(
            "detail",
            optional=True,
            options=list(DETAILS),
            default="whole",
            advanced=True,
            tooltip="whole: the picture at the encoder's size. tiles: square parts of it, each acting in its own part "
            "of the result: for large or long pictures. whole and tiles: both, each at half the weight.",
        ),
        io.Int.Input(
            "tiles",
            optional=True,
            default=2,
            min=1,
            max=8,
            tooltip="For tiles: how many lie along the short side; as many as are needed cover the long side.",
        ),
    ]
